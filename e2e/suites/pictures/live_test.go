package pictures

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/window/ui"
)

// changing is a node of which a test changes what is read.
type changing struct {
	mu   sync.Mutex
	file string
	err  error
}

func (*changing) Nodes() []string { return []string{"node1"} }
func (*changing) Live() bool      { return true }

func (c *changing) set(file string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file, c.err = file, err
}

func (c *changing) Read(context.Context, int) (*ui.Reading, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	data, err := os.ReadFile(c.file)
	if err != nil {
		return nil, err
	}
	snapshot, err := inspect.Parse(data)
	if err != nil {
		return nil, err
	}
	list := inspect.NewAttachedList(snapshot, func(*inspect.Attached) bool { return true })
	return &ui.Reading{Snapshot: snapshot, Attached: list, Way: "node node1, by a test"}, nil
}

func (*changing) Trace(context.Context, ui.Query, []*ui.Reading) (*path.Document, error) {
	return nil, inspect.ErrNotFound
}

// turn is how long the page may take to show what changed: it asks every 5 seconds.
const turn = 20 * time.Second

// The page shows what changed without being loaded again. What somebody opened, and the focus, stay; the button
// stops it; what cannot be read, and the end of the program, are said.
func TestE2EPageOfUIIsLive(t *testing.T) {
	const wrong, fine = "../../../internal/inspect/testdata/host-end-off-bridge.json", docs + "/three-networks/node1.json"
	source := &changing{file: wrong}
	ctx, end := context.WithCancel(t.Context())
	server, err := ui.New(ctx, source)
	check.Must(t, err)
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	check.Must(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, listener) }()

	browser := openTab(t)
	browser.do(t, chromedp.Navigate(server.URL(listener.Addr())))
	value := func(expression string) string { return get(t, browser, chromedp.Evaluate[string](expression)) }
	until := func(what, expression string) {
		t.Helper()
		check.Eventually(t, what, turn, func() bool { return value("String("+expression+")") == "true" })
	}
	check.Equal(t, "the token is out of the address", value("location.href"), "http://"+listener.Addr().String()+"/")
	value("(window.here = 'loaded once', document.querySelector('summary').click(), document.querySelector('summary').focus(), '')")

	source.set(wrong, context.DeadlineExceeded)
	until("what cannot be read is said", "document.querySelector('#troubles')?.textContent.includes('deadline exceeded')")
	check.Equal(t, "what was known stays", value("String(document.body.textContent.includes('host-end-off-bridge'))"), "true")
	source.set(wrong, nil)
	until("and no longer", "!document.querySelector('#troubles')")
	check.Equal(t, "what was opened", value("String(document.querySelector('details').open)"), "true")
	check.Equal(t, "the focus", value("document.activeElement.localName"), "summary")

	browser.do(t, chromedp.Click(chromedp.CSS("#pause")))
	check.Equal(t, "the button", value("document.querySelector('#pause').textContent"), "Go on")
	check.Equal(t, "status", value("document.querySelector('#status').textContent.slice(0, 15)"), "paused, read at")
	source.set(fine, nil)
	browser.do(t, chromedp.Click(chromedp.CSS("#pause")))
	until("what changed is shown", "document.querySelector('#pods').textContent.includes('default/lan1')")
	check.Equal(t, "the page", value("window.here"), "loaded once")
	check.Equal(t, "what the console says", browser.console(), []string(nil))

	end()
	check.Must(t, <-served)
	until("the end is said", "document.querySelector('#status').textContent.includes('has given no answer since')")
	check.Equal(t, "what was known stays after the end", value("String(document.body.textContent.includes('default/lan1'))"), "true")
}
