package pictures

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// measurePage finds texts of a page that leave the window or the cell that they are in, and texts that cross.
const measurePage = `(() => {
const found = [], lines = [];
const name = text => JSON.stringify(text.trim().slice(0, 60));
if (document.documentElement.scrollWidth > innerWidth) found.push('the page is wider than the window: ' + document.documentElement.scrollWidth);
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let node; (node = walk.nextNode());) {
 const within = node.parentElement;
 if (!node.data.trim() || !within.checkVisibility() || within.closest('.hidden,.skip,style,title,datalist') || getComputedStyle(within.closest('thead') || within).clipPath !== 'none') continue;
 const range = document.createRange();
 range.selectNodeContents(node);
 const around = within.closest('svg') ? null : within.closest('td,th,dd,dt,li,p,h1,h2,h3,pre,summary,button,label,form,header').getBoundingClientRect();
 for (const r of range.getClientRects()) {
  if (r.width < 1) continue;
  if (r.left < -.5 || r.right > innerWidth + .5) found.push('leaves the window: ' + name(node.data));
  if (around && (r.left < around.left - .5 || r.right > around.right + .5 || r.top < around.top - 3 || r.bottom > around.bottom + 3)) found.push('leaves its cell: ' + name(node.data));
  lines.push({r, text: node.data});
 }
}
lines.sort((a, b) => a.r.top - b.r.top);
lines.forEach((a, i) => {
 for (const b of lines.slice(i + 1)) {
  if (b.r.top > a.r.bottom - 3) break;
  const w = Math.min(a.r.right, b.r.right) - Math.max(a.r.left, b.r.left), h = Math.min(a.r.bottom, b.r.bottom) - Math.max(a.r.top, b.r.top);
  if (w > .5 && h > 4) found.push(name(a.text) + ' crosses ' + name(b.text));
 }
});
return {texts: lines.length, found};
})()`

type measuredPage struct {
	Texts int      `json:"texts"`
	Found []string `json:"found"`
}

// tab is a tab of a browser, with what its console says.
type tab struct {
	context.Context
	mu   sync.Mutex
	said []string
}

func openTab(t *testing.T) *tab {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()))
	allocator, end := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(end)
	ctx, end := chromedp.NewContext(allocator)
	t.Cleanup(end)
	one := &tab{Context: ctx}
	check.Must(t, chromedp.Do(ctx)) // starts the browser
	check.Must(t, chromedp.Listen(ctx, one.hear))
	_, err := chromedp.Call(ctx, log.Enable, cdp.Empty{})
	check.Must(t, err)
	return one
}

// hear notes what the browser complains about.
func (b *tab) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *log.EventEntryAdded:
		b.said = append(b.said, e.Entry.Text)
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, e.ExceptionDetails.Text)
	}
}

func (b *tab) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, time.Minute)
	defer cancel()
	check.Must(t, chromedp.Do(ctx, steps...))
}

// get runs an action in a tab, and gives its value.
func get[T any](t *testing.T, b *tab, action chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.Context, time.Minute)
	defer cancel()
	value, err := chromedp.Run(ctx, action)
	check.Must(t, err)
	return value
}

// console gives what the browser has complained about so far.
func (b *tab) console() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.said
}

// resize makes the window of a width, in one of the two colour schemes.
func (b *tab) resize(t *testing.T, width int64, scheme string) {
	t.Helper()
	_, err := chromedp.Call(b.Context, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1})
	check.Must(t, err)
	_, err = chromedp.Call(b.Context, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	check.Must(t, err)
}

// serveUI runs kubectl-plexus ui, and gives the address that it prints.
func serveUI(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(os.Getenv("PLEXUS_BIN"), "kubectl-plexus"), append([]string{"ui"}, args...)...)
	out, err := cmd.StdoutPipe()
	check.Must(t, err)
	cmd.Stderr = os.Stderr
	check.Must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGINT)
		check.Must(t, cmd.Wait())
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	check.Must(t, err)
	return strings.TrimSpace(line)
}

var notInNames = regexp.MustCompile(`\W+`)

// The page of the command: at two widths and in both colour schemes no text leaves its cell or crosses another
// one, and the browser refuses nothing by the policy. -artifacts keeps the pictures of it.
func TestE2EPageOfUI(t *testing.T) {
	for name, tc := range map[string]struct{ files, pages []string }{
		"three networks": {[]string{docs + "/three-networks/node1.json", docs + "/three-networks/node2.json"}, []string{
			"/", "/?q=net1", "/?q=nothing+has+this", "/node?name=node1", "/node?name=none", "/pod?node=node1&pod=default/web", "/pod?node=node1&pod=default/web&commands=1",
			"/path", "/path?from=default/web&to=default/db", "/path?from=default/web&to=default/db&interface=net1", "/path?from=default/web&to=x/y",
		}},
		"a node with findings": {[]string{"../../../internal/inspect/testdata/doctor.json"}, []string{"/", "/node?name=node1"}},
		"a pod with a finding": {[]string{"../../../internal/inspect/testdata/host-end-off-bridge.json"}, []string{"/", "/pod?node=node1&pod=default/web"}},
		"a path that is lost":  {glob(t, testdata+"/overlay-without-the-entry-of-a-VTEP/n*.json"), []string{"/", "/path?from=/run/netns/p1&to=/run/netns/p2"}},
		"an unknown end":       {glob(t, docs+"/vhost-user/n*.json"), []string{"/path?from=default/a&to=default/b&interface=net0"}},
	} {
		t.Run(name, func(t *testing.T) {
			var args []string
			for _, file := range tc.files {
				args = append(args, "--from", file)
			}
			address := serveUI(t, args...)
			base, err := url.Parse(address)
			check.Must(t, err)
			browser := openTab(t)
			browser.do(t, chromedp.Navigate(address))
			for _, page := range tc.pages {
				for _, width := range []int64{1280, 360} {
					measureAt(t, browser, "http://"+base.Host+page, page, width)
				}
			}
			check.Equal(t, "what the console says", withoutStatus(browser.console()), []string(nil))
		})
	}
}

// withoutStatus leaves out that a page that is not there was not there.
func withoutStatus(said []string) (rest []string) {
	for _, line := range said {
		if !strings.Contains(line, "the server responded with a status of 404") {
			rest = append(rest, line)
		}
	}
	return rest
}

// measureAt measures a page in a window of a width.
func measureAt(t *testing.T, browser *tab, address, page string, width int64) {
	t.Helper()
	for _, scheme := range []string{"light", "dark"} {
		browser.resize(t, width, scheme)
		browser.do(t, chromedp.Navigate(address))
		got, picture := get(t, browser, chromedp.Evaluate[measuredPage](measurePage)), get(t, browser, chromedp.FullScreenshot(100))
		what := fmt.Sprintf("%s at %d", page, width)
		check.Equal(t, what+": there are texts", got.Texts > 5, true)
		check.Equal(t, what+": texts", got.Found, []string{})
		file := fmt.Sprintf("%s-%d-%s.png", strings.Trim(notInNames.ReplaceAllString(page, "-"), "-"), width, scheme)
		check.Must(t, os.WriteFile(filepath.Join(t.ArtifactDir(), file), picture, 0o600))
	}
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	check.Must(t, err)
	check.Equal(t, "there are files "+pattern, len(files) > 0, true)
	return files
}
