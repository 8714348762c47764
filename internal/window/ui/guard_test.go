package ui

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

var address = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8017}

func guarded(t *testing.T) (*Server, http.Handler) {
	t.Helper()
	server, err := New(t.Context(), saved(t, "ptp"))
	check.Must(t, err)
	return server, server.Handler(address)
}

// Only who has the token, and reaches the page by a name of this machine, sees it; and nobody writes.
func TestGuard(t *testing.T) {
	server, handler := guarded(t)
	cookie := func(value string) string { return "plexus-ui-8017=" + value }
	for name, tc := range map[string]struct {
		method, host, path, cookie string
		status                     int
	}{
		"no token":                   {"GET", "127.0.0.1:8017", "/", "", 403},
		"another token":              {"GET", "127.0.0.1:8017", "/?token=" + strings.ToLower(server.token), "", 403},
		"the beginning of it":        {"GET", "127.0.0.1:8017", "/?token=" + server.token[:20], "", 403},
		"an empty cookie":            {"GET", "127.0.0.1:8017", "/", cookie(""), 403},
		"another cookie":             {"GET", "127.0.0.1:8017", "/", cookie("x"), 403},
		"the cookie of another port": {"GET", "127.0.0.1:8017", "/", "plexus-ui-80=" + server.token, 403},
		"an asset without a token":   {"GET", "127.0.0.1:8017", "/assets/page.js", "", 403},
		"the token":                  {"GET", "127.0.0.1:8017", "/?token=" + server.token, "", 303},
		"the cookie":                 {"GET", "127.0.0.1:8017", "/", cookie(server.token), 200},
		"localhost":                  {"GET", "LocalHost:8017", "/", cookie(server.token), 200},
		"IPv6":                       {"GET", "[::1]:8017", "/", cookie(server.token), 200},
		"somebody's name":            {"GET", "rebound.example:8017", "/", cookie(server.token), 421},
		"somebody's name, a token":   {"GET", "rebound.example:8017", "/?token=" + server.token, "", 421},
		"another port":               {"GET", "127.0.0.1:80", "/", cookie(server.token), 421},
		"no port":                    {"GET", "localhost", "/", cookie(server.token), 421},
		"POST":                       {"POST", "127.0.0.1:8017", "/", cookie(server.token), 405},
		"HEAD":                       {"HEAD", "127.0.0.1:8017", "/", cookie(server.token), 405},
		"DELETE without a cookie":    {"DELETE", "127.0.0.1:8017", "/", "", 405},
	} {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(tc.method, tc.path, nil)
			request.Host = tc.host
			request.Header.Set("Cookie", tc.cookie)
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, request)
			check.Equal(t, "status", answer.Code, tc.status)
			check.Contains(t, "policy", answer.Header().Get("Content-Security-Policy"), "default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", hashOf(path.Style))
			for header, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Frame-Options": "DENY"} {
				check.Equal(t, header, answer.Header().Get(header), want)
			}
			check.Equal(t, "shows something", strings.Contains(answer.Body.String(), "<main"), tc.status == 200)
		})
	}
}

// The cookie goes to nobody else's script or page, and the token does not stay in the address.
func TestWelcome(t *testing.T) {
	server, handler := guarded(t)
	request := httptest.NewRequest(http.MethodGet, strings.TrimPrefix(server.URL(address), "http://127.0.0.1:8017"), nil)
	request.Host = "127.0.0.1:8017"
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, request)
	check.Equal(t, "leads to", answer.Header().Get("Location"), "/")
	check.Equal(t, "cookie", answer.Header().Get("Set-Cookie"), "plexus-ui-8017="+server.token+"; Path=/; HttpOnly; SameSite=Strict")
	other, _ := guarded(t)
	check.Equal(t, "another server has another token", other.token != server.token && len(server.token) >= 26, true)
}

// The page ends with the command, also while somebody is connected.
func TestServeEnds(t *testing.T) {
	server, _ := guarded(t)
	ctx, cancel := context.WithCancel(t.Context())
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	check.Must(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()
	open, err := new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	check.Must(t, err)
	defer open.Close()
	cancel()
	check.Must(t, <-served)
}
