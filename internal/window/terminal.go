package window

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/plexus-cni/plexus/internal/style"
)

// isTerminal reports whether somebody looks at what is written.
func isTerminal(w io.Writer) bool {
	file, is := w.(*os.File)
	return is && term.IsTerminal(int(file.Fd()))
}

// isDumb reports whether the terminal shows letters and nothing else.
func isDumb() bool { return os.Getenv("TERM") == "dumb" }

// styled gives the writer of a text: with colours on a terminal, unless somebody wants none
// (NO_COLOR, of any value but the empty one). Control characters are shown, and not obeyed.
func styled(w io.Writer) io.Writer {
	if !isTerminal(w) || isDumb() || os.Getenv("NO_COLOR") != "" {
		return style.Safe(w, false)
	}
	return style.Writer{Writer: style.Safe(w, true)}
}

// patience is how long a command may be silent.
const patience = time.Second

// progress says on a terminal what a command waits for, once that takes longer than a second.
// Where standard error is no terminal it says nothing.
//
//	wait := startProgress(cmd)
//	defer wait.stop()
//	wait.say("starting a pod on node n1")
type progress struct {
	out   io.Writer // nil: nobody looks
	dumb  bool
	timer *time.Timer

	mu      sync.Mutex
	text    string
	shown   bool // the line is on the screen
	visible bool // the second is over
	stopped bool
}

// startProgress starts the second.
func startProgress(cmd *cobra.Command) *progress {
	if out := cmd.ErrOrStderr(); isTerminal(out) {
		return newProgress(out, isDumb())
	}
	return newProgress(nil, false)
}

func newProgress(out io.Writer, dumb bool) *progress {
	p := &progress{out: out, dumb: dumb}
	p.timer = time.AfterFunc(patience, p.becomeVisible)
	return p
}

// say replaces what the command waits for.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text = fmt.Sprintf(format, args...)
	p.show()
}

// stop takes the line away. It must be called before the command writes its output.
func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	p.stopped = true
	if p.shown && !p.dumb {
		_, _ = io.WriteString(p.out, "\r\x1b[K")
	}
	p.shown = false
}

func (p *progress) becomeVisible() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.visible = true
	p.show()
}

func (p *progress) show() {
	switch {
	case p.out == nil || p.stopped || !p.visible || p.text == "":
		return
	case p.dumb:
		_, _ = fmt.Fprintf(p.out, "%s …\n", p.text)
	default:
		_, _ = fmt.Fprintf(p.out, "\r\x1b[K%s …", p.text)
	}
	p.shown = true
}
