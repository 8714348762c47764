package probes

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/pki"
)

const patience = 20 * time.Second

var address = regexp.MustCompile(`msg="probes and metrics" address=(\S+)`)

// buffer is a log that is read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(data)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// serve serves until the test ends, and gives the address and the log.
func serve(t *testing.T, certificate *Certificate) (string, *buffer) {
	t.Helper()
	logged := &buffer{}
	s := &Server{
		Address: "127.0.0.1:0", Certificate: certificate, Log: slog.New(slog.NewTextHandler(logged, nil)),
		Handler: Handler(func() error { return errors.New("not yet") }, http.NotFoundHandler()),
		Limits:  Limits{Connections: 4, Patience: patience, Answer: patience, Header: 8 << 10},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(t.Context())
	}()
	t.Cleanup(func() { <-done })
	check.Eventually(t, "the server", patience, func() error {
		if !address.MatchString(logged.String()) {
			return errors.New("it does not listen")
		}
		return nil
	})
	return address.FindStringSubmatch(logged.String())[1], logged
}

// ask gives the status of an answer, and the name in the server's certificate.
func ask(t *testing.T, url string, trust *pki.Authority) (status int, name string, err error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: trust.Pool(), MinVersion: tls.VersionTLS12}}}
	response, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	if response.TLS != nil {
		name = response.TLS.PeerCertificates[0].Subject.CommonName
	}
	return response.StatusCode, name, err
}

func TestServerOverTLS(t *testing.T) {
	authority := pki.New(t)
	certificate, err := LoadCertificate(authority.Issue(t, t.TempDir(), "first"))
	check.Must(t, err)
	at, _ := serve(t, certificate)
	for path, want := range map[string]int{"/livez": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/metrics": http.StatusNotFound} {
		if status, name, err := ask(t, "https://"+at+path, authority); status != want || name != "first" || err != nil {
			t.Errorf("%s: got %d by %q, %v, want %d", path, status, name, err, want)
		}
	}
	if status, _, err := ask(t, "http://"+at+"/livez", authority); err == nil && status == http.StatusOK {
		t.Error("it answers without TLS")
	}
	if _, _, err := ask(t, "https://"+at+"/livez", pki.New(t)); err == nil {
		t.Error("another authority's client trusts it")
	}
}

func TestServerWithoutTLS(t *testing.T) {
	at, _ := serve(t, nil)
	if status, _, err := ask(t, "http://"+at+"/livez", pki.New(t)); status != http.StatusOK || err != nil {
		t.Errorf("got %d, %v", status, err)
	}
}

// A certificate is replaced under a server, as the kubelet does it with a Secret's: the
// folder is turned to a new one. While it cannot be used, the last one serves.
func TestCertificateChanges(t *testing.T) {
	authority, dir := pki.New(t), t.TempDir()
	turn := func(to string) {
		t.Helper()
		check.Must(t, os.Symlink(to, filepath.Join(dir, "next")))
		check.Must(t, os.Rename(filepath.Join(dir, "next"), filepath.Join(dir, "data")))
	}
	issue := func(name string) string {
		folder := filepath.Join(dir, name)
		check.Must(t, os.Mkdir(folder, 0o700))
		authority.Issue(t, folder, name)
		return folder
	}
	turn(issue("first"))
	certificate, err := LoadCertificate(filepath.Join(dir, "data", "tls.crt"), filepath.Join(dir, "data", "tls.key"))
	check.Must(t, err)
	at, logged := serve(t, certificate)
	expect := func(want string) {
		t.Helper()
		if _, name, err := ask(t, "https://"+at+"/livez", authority); name != want || err != nil {
			t.Errorf("got the certificate %q, %v, want %q", name, err, want)
		}
	}
	expect("first")
	turn(issue("second"))
	expect("second")
	broken := issue("third")
	check.Must(t, os.WriteFile(filepath.Join(broken, "tls.key"), []byte("nonsense"), 0o600))
	turn(broken)
	expect("second")
	if got := logged.String(); !strings.Contains(got, "cannot be used") || !strings.Contains(got, "--metrics-tls-key") {
		t.Errorf("the log does not say why:\n%s", got)
	}
	turn(filepath.Join(dir, "nowhere"))
	expect("second")
	turn(issue("fourth"))
	expect("fourth")
}

func TestCertificateRefused(t *testing.T) {
	authority, dir := pki.New(t), t.TempDir()
	certificate, key := authority.Issue(t, dir, "x")
	_, otherKey := authority.Issue(t, t.TempDir(), "y")
	missing, fifo, long := filepath.Join(dir, "missing"), filepath.Join(dir, "fifo"), filepath.Join(dir, "long")
	check.Must(t, unix.Mkfifo(fifo, 0o600))
	check.Must(t, os.WriteFile(long, make([]byte, maxFile+1), 0o600))
	for name, test := range map[string]struct {
		certificate, key string
		want             []string
	}{
		"no key":             {certificate, "", []string{"--metrics-tls-cert", "--metrics-tls-key", "together"}},
		"no certificate":     {"", key, []string{"--metrics-tls-cert", "--metrics-tls-key", "together"}},
		"no file":            {missing, key, []string{"--metrics-tls-cert: ", missing}},
		"no file of the key": {certificate, missing, []string{"--metrics-tls-key: ", missing}},
		"another's key":      {certificate, otherKey, []string{"--metrics-tls-key", otherKey}},
		"a key twice":        {key, key, []string{"--metrics-tls-cert", key}},
		"a FIFO":             {fifo, key, []string{"--metrics-tls-cert", fifo}},
		"a FIFO for a key":   {certificate, fifo, []string{"--metrics-tls-key", fifo}},
		"a long file":        {long, key, []string{"--metrics-tls-cert", long}},
	} {
		got, err := LoadCertificate(test.certificate, test.key)
		if err == nil || got != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: got %v, want %q in it", name, err, part)
			}
		}
	}
	if got, err := LoadCertificate("", ""); got != nil || err != nil {
		t.Errorf("neither: got %v, %v", got, err)
	}
}
