package ppp

import (
	"testing"
	"time"
)

// A Config that nobody could mean panics at New, where the owner sees it.
func TestConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no Rand":              {},
		"negative Restart":     {Rand: random(1), Restart: -time.Second},
		"negative AuthTimeout": {Rand: random(1), AuthTimeout: -1},
		"unknown method":       {Rand: random(1), Methods: []Method{MSCHAPv2, 9}},
		"negative counter":     {Rand: random(1), MaxFailure: -1},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("New takes it")
				}
			}()
			New(cfg)
		})
	}
}

// Timers and counters are the owner's to choose.
func TestConfiguredTimers(t *testing.T) {
	cfg := clientConfig()
	cfg.Restart, cfg.MaxConfigure, cfg.MaxTerminate = time.Second, 2, 1
	x := open(t, cfg)
	x.wait(2 * time.Second)
	x.want("two requests, a second each", "LCP Configure-Request ...", "LCP Configure-Request ...", "Down: no answer to LCP Configure-Request after 2 tries")

	cfg = clientConfig()
	cfg.EchoInterval, cfg.EchoFailures, cfg.MaxTerminate = 5*time.Second, 1, 1
	x = open(t, cfg)
	x.openLCP()
	x.ipcp(configureNak, 1, addrOption(ipcpAddress, inside))
	x.ackOurs(&x.link.ipcp.automaton)
	x.ipcp(configureRequest, 1)
	x.forget()
	x.wait(6 * time.Second)
	x.want("one echo, one Terminate-Request", "LCP Echo-Request ...", "NetworkDown{IPv4}", "LCP Terminate-Request ...", "Down: no answer to LCP Echo-Request after 1 tries")

	cfg = serverConfig()
	cfg.SetupTimeout, cfg.AuthTimeout, cfg.EchoInterval = -1, time.Second, -1
	cfg.Methods = []Method{PAP}
	x = open(t, cfg)
	x.openLCP()
	x.authenticatePAP()
	x.forget()
	x.wait(24 * time.Hour)
	x.want("a pool may think for ever, if the owner lets it")
}
