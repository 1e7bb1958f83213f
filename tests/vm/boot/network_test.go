// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestNetworks: ways in which a machine may be on a network. In the real root
// networkd does not run, so that whatever the initramfs left would be seen.
func TestNetworks(t *testing.T) {
	needGate(t, true)
	for _, row := range []struct {
		name   string
		listen string // on the host
		host   string // the same for the guest
		append string
		set    func(*rig)
	}{
		{"two cards, the first without a carrier", "127.0.0.1:0", "10.0.2.2", "", func(r *rig) { r.IdleCard = true }},
		{"static address", "127.0.0.1:0", "10.0.2.2", "ip=10.0.2.77::10.0.2.2:255.255.255.0::enp0s16:none", func(*rig) {}},
		{"IPv6 only", "[::1]:0", "[fec0::2]", "", func(r *rig) { r.NetworkOptions = ",ipv4=off,ipv6=on" }},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, err := net.Listen("tcp", row.listen)
			if err != nil {
				t.Skipf("the host has no such address: %v", err)
			}
			from := make(chan string, 10)
			s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				from <- r.RemoteAddr
				_, _ = io.WriteString(w, hostName("fetched"))
			})}
			go func() { _ = s.Serve(l) }()
			t.Cleanup(func() { _ = s.Close() })
			r := newRig(t)
			row.set(r)
			r.flag("qemu")
			r.kernelopts(row.append)
			r.FwCfg = map[string]string{"opt/com.coreos/config": fmt.Sprintf(`{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"http://%s:%d/c.ign"}]}},
 "systemd":{"units":[{"name":"systemd-networkd.service","mask":true},{"name":"systemd-networkd.socket","mask":true}]}}`, row.host, l.Addr().(*net.TCPAddr).Port)}
			g := r.boot("first")
			g.Login(bootTime)
			if len(from) != 1 {
				t.Errorf("the config was asked for %d times", len(from))
			}
			want(t, g, "hostname; systemctl is-active nginx.service", "fetched\nactive")
			want(t, g, "ip -o address show scope global; ip route show; ip -6 route show proto ra; systemctl is-active systemd-networkd.service", "inactive")
			want(t, g, "journalctl -b -o cat --no-pager -t ignition | grep -c 'attempt #1$'", "1")
		})
	}
}

// TestMachineID: units are as the config says whatever the image says about
// systemd's own first boot. An empty file is what the other tests start with.
func TestMachineID(t *testing.T) {
	needGate(t, true)
	for _, row := range []struct{ name, content string }{
		{"missing", "(none)"}, {"uninitialized", "uninitialized\n"}, {"populated", "0123456789abcdef0123456789abcdef\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			r.flag("qemu")
			if row.content == "(none)" {
				r.Disk.Remove(t, Root, "etc/machine-id")
			} else {
				r.Disk.Put(t, Root, "etc/machine-id", row.content)
			}
			// As image-based systems have it. Without it PID 1 enables every unit that can be.
			r.Disk.Put(t, Root, "usr/lib/systemd/system-preset/99-default.preset", "disable *\n")
			unit := quote(t, strings.ReplaceAll(nginx, "nginx-proof", "other-proof"))
			r.FwCfg = map[string]string{"opt/com.coreos/config": `{"ignition":{"version":"3.4.0"},"systemd":{"units":[
 {"name":"nginx.service","enabled":true,"contents":` + quote(t, nginx) + `},{"name":"off.service","enabled":false,"contents":` + unit + `},{"name":"fstrim.timer","mask":true},
 {"name":"ours.service","enabled":true,"contents":` + unit + `}]},
 "storage":{"files":[{"path":"/etc/systemd/system-preset/10-mine.preset","contents":{"source":"data:,disable%20ours.service%0A"}}]}}`}
			g := r.boot("first")
			g.Login(bootTime)
			want(t, g, "cat /run/nginx-proof; ls /run/other-proof", "started\nls: cannot access '/run/other-proof': No such file or directory")
			want(t, g, "systemctl is-enabled nginx.service off.service fstrim.timer ours.service | xargs", "enabled disabled masked disabled")
			want(t, g, "grep -c '^[0-9a-f]\\{32\\}$' /etc/machine-id", "1")
			if row.name == "populated" {
				want(t, g, "cat /etc/machine-id", strings.TrimSpace(row.content))
			}
		})
	}
}
