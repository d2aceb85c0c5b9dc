package main

import (
	"fmt"
	"os"

	"github.com/l2tpnet/l2tpnet/endpoint"
)

// pppFlags are what a PPP client says of itself.
type pppFlags struct {
	User         string `short:"u" env:"L2TPNET_USER" placeholder:"NAME" help:"User name for PPP."`
	PasswordFile string `env:"L2TPNET_PASSWORD_FILE" placeholder:"FILE" help:"File with the password alone; or set L2TPNET_PASSWORD to the password itself."`
	Auth         string `default:"${auth}" placeholder:"METHODS" help:"Authentication methods to use: mschapv2, chap, eap-mschapv2, eap-md5, pap. PAP shows the password to everybody on the way. Default: ${default}."`
	MPPE         string `name:"mppe" default:"off" placeholder:"WHEN" help:"PPP encryption, which protects little: off, allowed or required. Default: ${default}."`
}

// defaultAuth is --auth's default.
const defaultAuth = "mschapv2,chap,eap-mschapv2"

// given is the first of the flags that only PPP has; "": none. What the environment says is
// for other commands, too.
func (f *pppFlags) given() string {
	return firstGiven([]flagGiven{
		{"--user", f.User != os.Getenv("L2TPNET_USER")}, {"--password-file", f.PasswordFile != os.Getenv("L2TPNET_PASSWORD_FILE")},
		{"--auth", f.Auth != defaultAuth}, {"--mppe", f.MPPE != "off"},
	})
}

// config reads the password, and finds what no peer could agree to.
func (f *pppFlags) config() (*endpoint.PPPConfig, error) {
	methods, err := endpoint.ParseAuthMethods(f.Auth)
	if err != nil {
		return nil, usage(fmt.Errorf("--auth: %w", err), "")
	}
	if f.User != "" && f.PasswordFile == "" && os.Getenv("L2TPNET_PASSWORD") == "" {
		return nil, usage(fmt.Errorf("expected a password for the user %q, found none", f.User), "give it with --password-file or L2TPNET_PASSWORD")
	}
	mppe, err := endpoint.ParseMPPE(f.MPPE)
	if err != nil {
		return nil, usage(fmt.Errorf("--mppe: %w", err), "")
	}
	password, err := readSecret("password", f.PasswordFile, "L2TPNET_PASSWORD")
	if err != nil {
		return nil, err
	}
	if f.User == "" && password != "" {
		return nil, usage(fmt.Errorf("expected a user name for the password, found none"), "give it with --user or L2TPNET_USER")
	}
	c := &endpoint.PPPConfig{User: f.User, Password: password, Methods: methods, MPPE: mppe}
	if err := c.Validate(); err != nil {
		return nil, usage(err, "--auth names the methods, --mppe required wants mschapv2 or eap-mschapv2 among them")
	}
	return c, nil
}
