package ui

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"strings"

	"github.com/plexus-cni/plexus/internal/inspect/path"
)

// tokenKey is where the token is in the address of the page.
const tokenKey = "token"

// guard lets through who has the token, and who reached this machine by one of its own names: a page of
// somebody else, whose name leads here of a sudden, gets nothing.
type guard struct {
	hosts  []string
	cookie string // its name: cookies do not tell ports apart
	token  string
	policy string
	pages  http.Handler
}

func newGuard(address net.Addr, token string, pages http.Handler) *guard {
	_, port, _ := net.SplitHostPort(address.String()) // a listener's own address has one
	return &guard{
		hosts:  []string{"127.0.0.1:" + port, "localhost:" + port, "[::1]:" + port},
		cookie: "plexus-ui-" + port, token: token, pages: pages,
		policy: "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' " + hashOf(path.Style) +
			"; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
	}
}

// hashOf gives the source of a style for the policy.
func hashOf(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.addHeaders(w.Header())
	switch {
	case !g.isOurs(r.Host):
		http.Error(w, "This page is at 127.0.0.1 and localhost alone.", http.StatusMisdirectedRequest)
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "The page is read, and nothing else.", http.StatusMethodNotAllowed)
	case g.isIn(r.URL.Query().Get(tokenKey)):
		g.welcome(w, r)
	case !g.hasCookie(r):
		http.Error(w, "Open the address that kubectl-plexus printed: it has a token, which this one lacks.", http.StatusForbidden)
	default:
		g.pages.ServeHTTP(w, r)
	}
}

func (g *guard) addHeaders(header http.Header) {
	for name, value := range map[string]string{
		"Content-Security-Policy": g.policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
	} {
		header.Set(name, value)
	}
}

// isOurs reports whether a name is one of the page, which no other machine can have.
func (g *guard) isOurs(host string) bool {
	for _, own := range g.hosts {
		if strings.EqualFold(host, own) {
			return true
		}
	}
	return false
}

// isIn compares with the token, in a time that says nothing about it.
func (g *guard) isIn(token string) bool {
	return subtle.ConstantTimeCompare([]byte(token), []byte(g.token)) == 1
}

// welcome takes the token out of the address, and gives a cookie in its place, so that links need none.
func (g *guard) welcome(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, &http.Cookie{Name: g.cookie, Value: g.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (g *guard) hasCookie(r *http.Request) bool {
	cookie, err := r.Cookie(g.cookie)
	return err == nil && g.isIn(cookie.Value)
}
