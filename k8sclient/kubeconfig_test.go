package k8sclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

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

// TestKubeconfigAsClientGo compares what we make of a kubeconfig with what client-go does.
func TestKubeconfigAsClientGo(t *testing.T) {
	certificate, key := pair(t)
	files := map[string]string{"c.pem": certificate, "k.pem": key, "both.pem": key + certificate, "token": "from-file\n"}
	const server = "server: 'https://10.0.0.1:6443'"
	for name, test := range map[string]struct{ cluster, user string }{
		"anonymous":             {server, ""},
		"a path":                {"server: 'https://rancher.example/k8s/clusters/c-1'", "token: t"},
		"authority in a file":   {server + ", certificate-authority: c.pem, tls-server-name: api", ""},
		"authority inline":      {server + ", certificate-authority-data: " + b64(certificate), ""},
		"not verified":          {server + ", insecure-skip-tls-verify: true", "token: t"},
		"certificate in files":  {server, "client-certificate: c.pem, client-key: k.pem"},
		"a kubelet's":           {server, "client-certificate: both.pem, client-key: both.pem"},
		"certificate inline":    {server, "client-certificate-data: " + b64(certificate) + ", client-key-data: " + b64(key)},
		"token":                 {server, "token: t"},
		"token file":            {server, "tokenFile: token"},
		"token file wins":       {server, "token: t, tokenFile: token"},
		"password":              {server, "username: me, password: secret"},
		"impersonation":         {server, "token: t, as: you, as-uid: '7', as-groups: [g, h], as-user-extra: {k/v: [a, b]}"},
		"proxy":                 {server + ", proxy-url: 'http://proxy:3128'", ""},
		"no credentials openly": {"server: 'http://10.0.0.1:8080'", "token: t"},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeKubeconfig(t, test.cluster, test.user, files)
			config, err := clientcmd.BuildConfigFromFlags("", path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := loadKubeconfig(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(viewOfClientGo(t, config), viewOf(t, got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// view is what of an access can be compared.
type view struct {
	Server, ServerName, Proxy string
	Insecure                  bool
	Authorities               int
	Certificate               bool
	Header                    http.Header
}

func viewOf(t *testing.T, a *access) view {
	t.Helper()
	v := view{Server: a.server.String(), ServerName: a.tls.ServerName, Insecure: a.tls.InsecureSkipVerify}
	if a.tls.RootCAs != nil {
		v.Authorities = len(a.tls.RootCAs.Subjects()) //nolint:staticcheck // not the system's pool
	}
	v.Certificate = len(a.tls.Certificates) > 0
	v.Header = a.header
	v.Proxy = proxyOf(t, a.proxy, a.server.String())
	return v
}

func proxyOf(t *testing.T, proxy func(*http.Request) (*url.URL, error), server string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, server, nil)
	if err != nil || proxy == nil {
		return ""
	}
	u, err := proxy(request)
	if err != nil {
		t.Fatal(err)
	}
	if u == nil {
		return ""
	}
	return u.String()
}

func viewOfClientGo(t *testing.T, config *rest.Config) view {
	t.Helper()
	v := view{Server: config.Host, ServerName: config.ServerName, Insecure: config.Insecure, Proxy: proxyOf(t, config.Proxy, config.Host)}
	tlsConfig, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	if tlsConfig != nil && tlsConfig.RootCAs != nil {
		v.Authorities = len(tlsConfig.RootCAs.Subjects()) //nolint:staticcheck // not the system's pool
	}
	v.Certificate = tlsConfig != nil && tlsConfig.GetClientCertificate != nil
	var sent http.Header
	transport, err := rest.HTTPWrappersForConfig(config, roundTripper(func(r *http.Request) (*http.Response, error) {
		sent = r.Header
		return &http.Response{Body: http.NoBody}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequest(http.MethodGet, config.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	sent.Del("User-Agent")
	v.Header = sent
	return v
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestKubeconfigErrors(t *testing.T) {
	certificate, _ := pair(t)
	files := map[string]string{"c.pem": certificate, "junk": "secret-junk"}
	const server = "server: 'https://10.0.0.1:6443'"
	for name, test := range map[string]struct {
		cluster, user string
		code          uint
		want          []string
	}{
		"server missing":        {"", "", 7, []string{"server"}},
		"server not a URL":      {"server: '10.0.0.1:6443'", "", 7, []string{"server", "10.0.0.1:6443"}},
		"authority missing":     {server + ", certificate-authority: gone.pem", "", 11, []string{"certificate-authority", "gone.pem", "no such file"}},
		"authority junk":        {server + ", certificate-authority: junk", "", 7, []string{"certificate-authority", "/junk", "no certificate"}},
		"authority but trusts":  {server + ", certificate-authority: c.pem, insecure-skip-tls-verify: true", "", 7, []string{"exclude"}},
		"not base64":            {server + ", certificate-authority-data: '*secret*'", "", 7, []string{"base64"}},
		"proxy not a URL":       {server + ", proxy-url: ':'", "", 7, []string{"proxy-url"}},
		"certificate missing":   {server, "client-certificate: gone.pem", 11, []string{"client-certificate", "gone.pem"}},
		"key missing":           {server, "client-certificate: c.pem, client-key: gone.pem", 11, []string{"gone.pem"}},
		"no key":                {server, "client-certificate: c.pem", 7, []string{"client-certificate", "c.pem"}},
		"token file missing":    {server, "tokenFile: gone", 11, []string{"tokenFile", "gone"}},
		"auth-provider":         {server, "auth-provider: {name: gcp}", 7, []string{"auth-provider"}},
		"a field's wrong type":  {server, "token: {secret: x}", 7, []string{"users.user.token", "string"}},
		"exec without command":  {server, "exec: {}", 7, []string{"exec", "command"}},
		"exec asks people":      {server, "exec: {apiVersion: v1, command: x, interactiveMode: Always}", 7, []string{"exec", "Always"}},
		"exec that is not here": {server, "exec: {apiVersion: v1, command: ./gone}", 11, []string{"credential plugin ./gone"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeKubeconfig(t, test.cluster, test.user, files)
			_, err := loadKubeconfig(t.Context(), path)
			wantError(t, err, append(test.want, "kubeconfig "+path)...)
			if got := types.CodeOf(err, 0); got != test.code {
				t.Errorf("code %d, want %d", got, test.code)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("%v shows what is in the file", err)
			}
		})
	}
}

func TestKubeconfigContexts(t *testing.T) {
	for content, want := range map[string]string{
		"a: [":               "line 1",
		"{}":                 "current-context is missing",
		"current-context: x": `there is no context "x"`,
		"{current-context: x, contexts: [{name: x, context: {cluster: c}}]}":                                                `context "x": there is no cluster "c"`,
		"{current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}], clusters: [{name: c}]}":                `there is no user "u"`,
		"{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, cluster: {server: 'h'}}]}": "server",
	} {
		path := filepath.Join(folder(t, map[string]string{"k": content}).Dir, "k")
		_, err := loadKubeconfig(t.Context(), path)
		wantError(t, err, want, path)
	}
	_, err := loadKubeconfig(t.Context(), "/does/not/exist")
	wantError(t, err, "kubeconfig /does/not/exist: no such file")
}

func TestExecPlugin(t *testing.T) {
	certificate, key := pair(t)
	const begin = "#!/bin/sh\n"
	credential := func(status string) string {
		return `cat <<'E'
{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":` + status + "}\nE\n"
	}
	for name, test := range map[string]struct {
		script  string
		options string
		token   string
		want    []string
	}{
		"token":       {script: begin + credential(`{"token":"t"}`), token: "Bearer t"},
		"certificate": {script: begin + credential(`{"clientCertificateData":"`+strings.ReplaceAll(certificate, "\n", `\n`)+`","clientKeyData":"`+strings.ReplaceAll(key, "\n", `\n`)+`"}`)},
		"args, env and cluster": {
			script: begin + `echo "$KUBERNETES_EXEC_INFO" | grep -q '"server":"https://10.0.0.1:6443"' || exit 3
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$1$V"`,
			options: ", args: [a], env: [{name: V, value: b}], provideClusterInfo: true",
			token:   "Bearer ab",
		},
		"fails":        {script: begin + "echo why >&2; exit 3", want: []string{"exit status 3: why"}},
		"prints junk":  {script: begin + "echo secret", want: []string{"not valid JSON"}},
		"other kind":   {script: begin + "echo '{}'", want: []string{"ExecCredential"}},
		"nothing":      {script: begin + credential("{}"), want: []string{"neither a token nor a certificate"}},
		"half a pair":  {script: begin + credential(`{"clientCertificateData":"x"}`), want: []string{"only one"}},
		"a bad pair":   {script: begin + credential(`{"clientCertificateData":"x","clientKeyData":"secret"}`), want: []string{"certificate"}},
		"not runnable": {script: "", want: []string{"credential plugin"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeKubeconfig(t, "server: 'https://10.0.0.1:6443'",
				"exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin"+test.options+"}", map[string]string{"plugin": test.script})
			if err := os.Chmod(filepath.Join(filepath.Dir(path), "plugin"), 0o700); err != nil {
				t.Fatal(err)
			}
			a, err := loadKubeconfig(t.Context(), path)
			if test.want != nil {
				wantError(t, err, append(test.want, path, "./plugin")...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := a.header.Get("Authorization"); got != test.token || (test.token == "") != (len(a.tls.Certificates) == 1) {
				t.Errorf("got %q and %d certificates, want %q", got, len(a.tls.Certificates), test.token)
			}
		})
	}
}

func TestInCluster(t *testing.T) {
	certificate, _ := pair(t)
	dir := folder(t, map[string]string{"token": "t\n", "ca.crt": certificate}).Dir
	a, err := inClusterAccess("10.0.0.1:443", dir)
	if err != nil {
		t.Fatal(err)
	}
	if a.server.String() != "https://10.0.0.1:443" || a.header.Get("Authorization") != "Bearer t" || a.tls.RootCAs == nil {
		t.Errorf("got %+v", a)
	}
	_, err = inClusterAccess("10.0.0.1:443", t.TempDir())
	wantError(t, err, "token")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	_, err = New(t.Context(), Options{})
	wantError(t, err, "no kubeconfig", "KUBERNETES_SERVICE_HOST")
}
