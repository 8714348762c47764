//go:build linux

package collect_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/lab"
)

// A filter is about the pods' packets also where a tunnel carries them, and Wireshark shows each at its hop.
func TestNetnsCaptureOfAPath(t *testing.T) {
	l := lab.New(t, twoNodes, wire+both(onWire+podOnBridge+vtep))
	written := l.Capture(path.Query{From: "p1", To: "p2"}, "icmp[icmptype] == icmp-echo", func() {
		l.Ping("p1", "p2", "eth0")
		l.Ping("n1", "n2", "eth0") // passes eth0 of both nodes, and is not of the path
	}, "n1", "n2")
	file := filepath.Join(t.TempDir(), "path.pcapng")
	check.Must(t, os.WriteFile(file, written, 0o600))
	out, err := exec.Command("tshark", "-r", file, "-d", "udp.port==8472,vxlan", "-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment", "-e", "icmp.seq").Output()
	check.Must(t, err)
	seen := map[string]int{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		name, _, _ := strings.Cut(fields[0], "@/")
		if fields[2] == "1" {
			seen[strings.TrimSpace(name+" "+fields[1])]++
		}
	}
	check.Equal(t, "packets of the first echo", seen, map[string]int{
		"eth0 hop 1 of 10": 1, "veth1@n1 hop 2 of 10": 1, "cni0@n1 hop 3 of 10": 1, "flannel.1@n1 hop 4 of 10": 1, "eth0@n1 hop 5 of 10": 1,
		"eth0@n2 hop 6 of 10": 1, "flannel.1@n2 hop 7 of 10": 1, "cni0@n2 hop 8 of 10": 1, "veth2@n2 hop 9 of 10": 1, "eth0 hop 10 of 10": 1,
	})
}
