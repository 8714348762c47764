package k8sclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// pair makes a certificate that signs itself, and its key, in PEM form.
func pair(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "c"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// write writes a kubeconfig of one cluster and one user, and files beside it.
func writeKubeconfig(t *testing.T, cluster, user string, files map[string]string) string {
	t.Helper()
	all := maps.Clone(files)
	if all == nil {
		all = map[string]string{}
	}
	all["kubeconfig"] = `{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}],
  clusters: [{name: c, cluster: {` + cluster + `}}], users: [{name: u, user: {` + user + `}}]}`
	dir := folder(t, all).Dir
	return filepath.Join(dir, "kubeconfig")
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestCredentials sees which credentials of a kubeconfig reach a server.
func TestCredentials(t *testing.T) {
	var seen *http.Request
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		_, _ = w.Write([]byte(`{"metadata":{"uid":"u"}}`))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	server.TLS.ClientAuth = 1 // ask for a certificate
	certificate, key := pair(t)
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	cluster := "server: '" + server.URL + "', certificate-authority: ca.pem"
	files := map[string]string{
		"ca.pem": authority, "c.pem": certificate, "k.pem": key, "both.pem": key + certificate, "token": "from-file\n",
		"plugin": "#!/bin/sh\n" + `echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-plugin"}}'`,
	}
	for name, test := range map[string]struct {
		user, authorization string
		certificate         bool
	}{
		"certificate in files": {"client-certificate: c.pem, client-key: k.pem", "", true},
		"a kubelet's":          {"client-certificate: both.pem, client-key: both.pem", "", true},
		"certificate inline":   {"client-certificate-data: " + b64(certificate) + ", client-key-data: " + b64(key), "", true},
		"token":                {"token: t", "Bearer t", false},
		"token file":           {"tokenFile: token", "Bearer from-file", false},
		"password":             {"username: me, password: secret", "Basic " + b64("me:secret"), false},
		"plugin": {
			"exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, interactiveMode: Never}",
			"Bearer from-plugin", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeKubeconfig(t, cluster, test.user, files)
			if err := os.Chmod(filepath.Join(filepath.Dir(path), "plugin"), 0o700); err != nil {
				t.Fatal(err)
			}
			c, err := New(Options{Kubeconfig: path, UserAgent: "test"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "n", Name: "p"}}); err != nil {
				t.Fatal(err)
			}
			if got := seen.Header.Get("Authorization"); got != test.authorization {
				t.Errorf("authorization %q, want %q", got, test.authorization)
			}
			if got := len(seen.TLS.PeerCertificates) > 0; got != test.certificate {
				t.Errorf("client certificate %v, want %v", got, test.certificate)
			}
		})
	}
}

// TestKubeconfigRefused sees that a kubeconfig that cannot be used is named, with the
// file that is wrong, and that nothing of its secrets is shown.
func TestKubeconfigRefused(t *testing.T) {
	certificate, _ := pair(t)
	files := map[string]string{"c.pem": certificate, "junk": "secret-junk"}
	const server = "server: 'https://10.0.0.1:6443'"
	for name, test := range map[string]struct {
		cluster, user string
		code          uint
		want          []string
	}{
		"authority missing":   {server + ", certificate-authority: gone.pem", "", 11, []string{"certificate-authority", "gone.pem"}},
		"authority junk":      {server + ", certificate-authority: junk", "", 7, nil},
		"not base64":          {server + ", certificate-authority-data: '*secret*'", "", 7, []string{"base64"}},
		"certificate missing": {server, "client-certificate: gone.pem, client-key: gone.pem", 11, []string{"gone.pem"}},
		"no key":              {server, "client-certificate: c.pem", 7, []string{"key"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeKubeconfig(t, test.cluster, test.user, files)
			_, err := New(Options{Kubeconfig: path})
			if err == nil {
				t.Fatal("was taken")
			}
			check.Error(t, err, append(test.want, "kubeconfig "+path)...)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%v shows what is in the file", err)
			}
			if got := types.CodeOf(err, 0); got != test.code {
				t.Errorf("code %d, want %d: %v", got, test.code, err)
			}
		})
	}
	_, err := New(Options{Kubeconfig: "/does/not/exist"})
	check.Error(t, err, "kubeconfig /does/not/exist", "no such file")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err = New(Options{})
	check.Error(t, err, "no kubeconfig", "KUBERNETES_SERVICE_HOST")
}

// TestRefusedCertificate sees that a server that refuses our certificate is not asked
// again and again.
func TestRefusedCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	server.StartTLS()
	defer server.Close()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	path := writeKubeconfig(t, "server: '"+server.URL+"', certificate-authority-data: "+b64(authority), "token: t", nil)
	c, err := New(Options{Kubeconfig: path})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "n", Name: "p"}})
	check.Error(t, err, "read pod n/p", "certificate required")
	if strings.Contains(err.Error(), "attempts") || types.CodeOf(err, 0) == types.CodeTryAgainLater {
		t.Errorf("was tried again: %v", err)
	}
}

// TestManifestsSkipWhatIsNoFile sees that what could be read for ever is not read.
func TestManifestsSkipWhatIsNoFile(t *testing.T) {
	m := folder(t, map[string]string{"p.yaml": "{apiVersion: v1, kind: Pod, metadata: {name: p, namespace: ns}}"})
	if err := unix.Mkfifo(filepath.Join(m.Dir, "a.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}}); err != nil {
		t.Error(err)
	}
}
