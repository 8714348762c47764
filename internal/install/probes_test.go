package install

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

var served = regexp.MustCompile(`msg="probes and metrics" address=(\S+)`)

// probing follows, with probes, and gives their address.
func probing(t *testing.T) (n *testNode, address string, stop func() error) {
	t.Helper()
	n, _, stop = hearing(t, func(n *testNode) { n.options.MetricsAddress = "127.0.0.1:0" })
	n.eventually("it serves probes", func() bool { return served.MatchString(n.logs.String()) })
	return n, served.FindStringSubmatch(n.logs.String())[1], stop
}

// get gives the answer of a probe.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	check.Must(t, err)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	check.Must(t, err)
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	check.Must(t, err)
	return response.StatusCode, string(data)
}

func TestFollowCountsWhatItPutsBack(t *testing.T) {
	n, address, stop := probing(t)
	_, body := get(t, "http://"+address+"/metrics")
	check.Contains(t, "metrics", body, `plexus_node_repairs_total{what="configuration"} 0`, `plexus_node_repairs_total{what="executable"} 0`)
	check.Must(t, os.Remove(n.ours()))
	n.eventually("the configuration is put back", func() bool { return n.around("10-a.conflist")() })
	check.Must(t, os.Remove(n.bin("plexus")))
	n.eventually("the executable is put back", n.whole)
	n.eventually("both are counted", func() bool {
		_, body := get(t, "http://"+address+"/metrics")
		return countLines(body, `plexus_node_repairs_total{what="configuration"} 1`) == 1 && countLines(body, `plexus_node_repairs_total{what="executable"} 1`) == 1
	})
	check.Must(t, stop())
	if _, err := net.Dial("tcp", address); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("somebody listens still: %v", err)
	}
}

// TestProbesAreBounded: idle connections would take the memory of the follower. One more waits
// until one of them is ended.
func TestProbesAreBounded(t *testing.T) {
	_, address, stop := probing(t)
	var idle []net.Conn
	for range maxProbes {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		check.Must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		idle = append(idle, conn)
	}
	if status, _ := get(t, "http://"+address+"/livez"); status != http.StatusOK {
		t.Errorf("a probe got %d", status)
	}
	ended := slices.ContainsFunc(idle, func(conn net.Conn) bool {
		check.Must(t, conn.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err := conn.Read(make([]byte, 1))
		return !errors.Is(err, os.ErrDeadlineExceeded)
	})
	if !ended {
		t.Error("one more was answered beside all that may be")
	}
	check.Must(t, stop())
}
