//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/l2tpnet/l2tpnet/integration/internal/roles"
)

// away is a host in a namespace of its own.
func (s *scaffold) away() (ns *namespace, host *roles.Child, ports hostPorts, err error) {
	if ns, err = s.h.namespace(); err != nil {
		return nil, nil, ports, err
	}
	if host, err = s.h.child("host", ns); err != nil {
		return nil, nil, ports, err
	}
	return ns, host, ports, host.Ask("start", nil, &ports)
}

// openSlirp has the host behind slirp4netns, and hostfwd rules made by its API socket.
func openSlirp(s *scaffold) (f forward, err error) {
	program, err := installed("slirp4netns", "slirp4netns")
	if err != nil {
		return f, err
	}
	ns, host, ports, err := s.away()
	if err != nil {
		return f, err
	}
	api := filepath.Join(s.h.dir, "slirp4netns.sock")
	os.Remove(api)
	p, err := s.h.start(nil, nil, program, "--configure", "--mtu=1500", "--disable-dns", "--netns-type=path", "--api-socket="+api, ns.path(), "tap0")
	if err != nil {
		return f, err
	}
	s.h.note(slirp, firstLine(program, "--version"))
	f = forward{path: []meter{p.meter}, host: host}
	return f, f.expose(p, ports, func(near, far string) error {
		return askSlirp(api, fmt.Sprintf(`{"execute":"add_hostfwd","arguments":{"proto":"tcp","host_addr":"127.0.0.1","host_port":%s,"guest_addr":"10.0.2.100","guest_port":%s}}`, near, far))
	})
}

// expose has a process, once it is ready, forward ports of loopback to those of a host.
func (f *forward) expose(p *process, ports hostPorts, rule func(near, far string) error) error {
	near, err := freePorts(2)
	if err != nil {
		return err
	}
	for i, far := range []string{ports.Sink, ports.Echo} {
		if err := p.ready(func() error { return rule(near[i], far) }); err != nil {
			return err
		}
	}
	f.sink, f.echo = local(near[0]), local(near[1])
	return nil
}

func askSlirp(api, question string) error {
	c, err := net.Dial("unix", api)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write([]byte(question)); err != nil {
		return err
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		return err
	}
	var answer struct{ Error any }
	if err := json.NewDecoder(c).Decode(&answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return fmt.Errorf("%v", answer.Error)
	}
	return nil
}

// openGVisorTap has the host behind a TAP, gvforwarder and gvproxy, with the MTU that gvproxy has by default, 1,500.
func openGVisorTap(s *scaffold) (f forward, err error) {
	proxy, err := s.h.built("gvproxy")
	if err != nil {
		return f, err
	}
	forwarder, err := s.h.built("gvforwarder")
	if err != nil {
		return f, err
	}
	ns, host, ports, err := s.away()
	if err != nil {
		return f, err
	}
	socket := filepath.Join(s.h.dir, "gvproxy.sock")
	os.Remove(socket)
	gvproxy, err := s.h.start(nil, nil, proxy, "-listen", "unix://"+socket, "-mtu", "1500")
	if err != nil {
		return f, err
	}
	if err := gvproxy.ready(func() error { _, err := os.Stat(socket); return err }); err != nil {
		return f, err
	}
	if err := ns.do(func() error {
		return sh("ip tuntap add tap0 mode tap", "ip link set tap0 mtu 1500", "ip addr add 192.168.127.2/24 dev tap0", "ip link set tap0 up", "ip route add default via 192.168.127.1")
	}); err != nil {
		return f, err
	}
	gvforwarder, err := s.h.start(ns, nil, forwarder, "-url", "unix://"+socket, "-iface", "tap0", "-preexisting", "-stop-if-exist", "none", "-mtu", "1500")
	if err != nil {
		return f, err
	}
	s.h.note(gvisorTap, moduleVersion(proxy, "github.com/containers/gvisor-tap-vsock"))
	f = forward{path: []meter{gvproxy.meter, gvforwarder.meter}, host: host}
	return f, f.expose(gvproxy, ports, func(near, far string) error {
		return askGVProxy(socket, fmt.Sprintf(`{"local":"127.0.0.1:%s","remote":"192.168.127.2:%s","protocol":"tcp"}`, near, far))
	})
}

func askGVProxy(socket, rule string) error {
	web := &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer web.CloseIdleConnections()
	r, err := web.Post("http://gvproxy/services/forwarder/expose", "application/json", bytes.NewReader([]byte(rule)))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("gvproxy: %s", r.Status)
	}
	return nil
}

// openWireGuard is two processes with wireguard-go's netstack. It encrypts, by ChaCha20-Poly1305.
func openWireGuard(s *scaffold) (f forward, err error) {
	program, err := s.h.built("wireguard")
	if err != nil {
		return f, err
	}
	var keys [2]*ecdh.PrivateKey
	for i := range keys {
		if keys[i], err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
			return f, err
		}
	}
	env := func(i int) []string {
		return []string{"WIREGUARD_PRIVATE=" + hex.EncodeToString(keys[i].Bytes()), "WIREGUARD_PEER=" + hex.EncodeToString(keys[1-i].PublicKey().Bytes())}
	}
	far, err := s.h.start(nil, env(0), program, "far", outward(s.ports.Sink))
	if err != nil {
		return f, err
	}
	port, err := far.find(`^(\d+)$`)
	if err != nil {
		return f, err
	}
	near, err := s.h.start(nil, env(1), program, "near", "127.0.0.1:0", local(port))
	if err != nil {
		return f, err
	}
	if port, err = near.find(`^(\d+)$`); err != nil {
		return f, err
	}
	s.h.note(wireguard, moduleVersion(program, "golang.zx2c4.com/wireguard")+", encrypts: ChaCha20-Poly1305")
	return forward{local(port), "", []meter{near.meter, far.meter}, s.target}, nil
}

// openSSH is sshd on loopback, and ssh -L, with keys of their own and with the cipher that they choose themselves.
func openSSH(s *scaffold) (f forward, err error) {
	found := map[string]string{}
	for name, pkg := range map[string]string{"sshd": "openssh-server", "ssh": "openssh-client", "ssh-keygen": "openssh-client"} {
		if found[name], err = installed(name, pkg); err != nil {
			return f, err
		}
	}
	me, err := user.Current()
	if err != nil {
		return f, err
	}
	dir := s.h.dir
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, key := range []string{"host-key", "user-key"} {
		if _, err := os.Stat(in(key)); err == nil {
			continue
		}
		if out, err := exec.Command(found["ssh-keygen"], "-q", "-t", "ed25519", "-N", "", "-f", in(key)).CombinedOutput(); err != nil {
			return f, fmt.Errorf("ssh-keygen: %w %s", err, out)
		}
	}
	ports, err := freePorts(3)
	if err != nil {
		return f, err
	}
	config := strings.Join([]string{"ListenAddress " + local(ports[0]), "HostKey " + in("host-key"), "AuthorizedKeysFile " + in("user-key.pub"),
		"StrictModes no", "UsePAM no", "PermitRootLogin yes", "PidFile none", ""}, "\n")
	if err := os.WriteFile(in("sshd_config"), []byte(config), 0o600); err != nil {
		return f, err
	}
	sshd, err := s.h.start(nil, nil, found["sshd"], "-D", "-e", "-f", in("sshd_config"))
	if err != nil {
		return f, err
	}
	if err := sshd.reachable(local(ports[0])); err != nil {
		return f, err
	}
	near, err := s.h.start(nil, nil, found["ssh"], "-F", "none", "-N", "-p", ports[0], "-i", in("user-key"), "-o", "IdentitiesOnly=yes",
		"-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "ExitOnForwardFailure=yes", "-o", "BatchMode=yes",
		"-L", local(ports[1])+":"+outward(s.ports.Sink), "-L", local(ports[2])+":"+outward(s.ports.Echo), me.Username+"@127.0.0.1")
	if err != nil {
		return f, err
	}
	if err := near.reachable(local(ports[1])); err != nil {
		return f, err
	}
	s.h.note(ssh, firstLine(found["ssh"], "-V")+", encrypts: "+firstCipher(found["ssh"]))
	return forward{local(ports[1]), local(ports[2]), []meter{near.meter, sshd.meter}, s.target}, nil
}
