package proxy

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"
)

// FixedServers is for [DNS.Servers]: always the same ones.
func FixedServers(servers ...netip.AddrPort) func() []netip.AddrPort {
	return func() []netip.AddrPort { return servers }
}

// HostServers is for [DNS.Servers]: those of a file that is written as
// /etc/resolv.conf is, which is read again when it has changed. While it cannot be
// read there are none.
func HostServers(file string) func() []netip.AddrPort {
	var (
		mu      sync.Mutex
		read    os.FileInfo // when servers were read
		servers []netip.AddrPort
	)
	return func() []netip.AddrPort {
		mu.Lock()
		defer mu.Unlock()
		f, err := os.Open(file)
		if err != nil {
			read, servers = nil, nil
			return nil
		}
		defer f.Close()
		now, err := f.Stat()
		if err != nil {
			return servers
		}
		// One that was written a moment ago may be written again within the clock's grain.
		if read != nil && os.SameFile(now, read) && now.ModTime().Equal(read.ModTime()) && now.Size() == read.Size() &&
			time.Since(now.ModTime()) > 2*time.Second {
			return servers
		}
		read, servers = now, parseResolvConf(f)
		return servers
	}
}

// resolvConfMax bounds what is read of the file.
const resolvConfMax = 64 << 10

// parseResolvConf reads the nameserver lines; all others are for those who search.
func parseResolvConf(r io.Reader) (servers []netip.AddrPort) {
	for lines := bufio.NewScanner(io.LimitReader(r, resolvConfMax)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil {
			servers = append(servers, netip.AddrPortFrom(a, 53))
		}
	}
	return servers
}
