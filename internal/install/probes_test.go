package install

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"testing"

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

// TestProbesAreBounded: idle connections would take the memory of the follower.
func TestProbesAreBounded(t *testing.T) {
	inner, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check.Must(t, err)
	defer inner.Close()
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for listener := newBoundedListener(inner, 2); ; {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", inner.Addr().String())
		check.Must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	dial()
	first := <-accepted
	dial()
	<-accepted
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a third connection was not closed: %v", err)
	}
	check.Must(t, first.Close())
	_ = first.Close() // counts once
	dial()
	<-accepted
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a third connection was not closed after one had ended: %v", err)
	}
}
