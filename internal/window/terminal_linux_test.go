package window

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/plexus-cni/plexus/internal/style"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// second passes the time that a command may be silent, in a test's own time.
func second() {
	time.Sleep(patience)
	synctest.Wait()
}

// What takes less than a second says nothing; what takes longer says what it waits for.
func TestProgress(t *testing.T) {
	for name, tc := range map[string]struct {
		dumb bool
		does func(*progress)
		want string
	}{
		"fast":                {false, func(p *progress) { p.say("one") }, ""},
		"slow":                {false, func(p *progress) { p.say("one of %d", 2); second() }, "\r\x1b[Kone of 2 …\r\x1b[K"},
		"two steps":           {false, func(p *progress) { p.say("one"); second(); p.say("two") }, "\r\x1b[Kone …\r\x1b[Ktwo …\r\x1b[K"},
		"the first is over":   {false, func(p *progress) { p.say("one"); p.say("two"); second() }, "\r\x1b[Ktwo …\r\x1b[K"},
		"nothing to say":      {false, func(*progress) { second() }, ""},
		"after the end":       {false, func(p *progress) { p.stop(); p.say("one"); second() }, ""},
		"a terminal of lines": {true, func(p *progress) { p.say("one"); second(); p.say("two") }, "one …\ntwo …\n"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				p := newProgress(&out, tc.dumb)
				tc.does(p)
				synctest.Wait()
				p.stop()
				check.Equal(t, "standard error", out.String(), tc.want)
			})
		})
	}
}

// Where nobody looks nothing is said: standard error may be a log.
func TestProgressWithoutTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		cmd := newVersion()
		cmd.SetErr(&out)
		p := startProgress(cmd)
		p.say("one")
		second()
		p.stop()
		check.Equal(t, "standard error", out.String(), "")
	})
}

// pseudoterminal gives both sides of one: where the screen is, and what programs write to.
func pseudoterminal(t *testing.T) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	check.Must(t, err)
	t.Cleanup(func() { _ = master.Close() })
	fd := int(master.Fd())
	check.Must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	check.Must(t, err)
	file, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	check.Must(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return master, file
}

func TestStyled(t *testing.T) {
	_, screen := pseudoterminal(t)
	for name, tc := range map[string]struct {
		term, noColor string
		coloured      bool
	}{
		"a terminal":             {"xterm", "", true},
		"somebody wants none":    {"xterm", "1", false},
		"and says so with a no":  {"xterm", "0", false},
		"a terminal without any": {"dumb", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TERM", tc.term)
			t.Setenv("NO_COLOR", tc.noColor)
			_, coloured := styled(screen).(style.Writer)
			check.Equal(t, "coloured", coloured, tc.coloured)
			_, coloured = styled(&bytes.Buffer{}).(style.Writer)
			check.Equal(t, "coloured in a pipe", coloured, false)
		})
	}
}

// Each command that says what is wrong has the words for it stand out.
func TestColours(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	data, err := os.ReadFile(saved)
	check.Must(t, err)
	t.Chdir(t.TempDir())
	write(t, ".", "node.json", string(data))
	write(t, ".", "pod.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b, annotations: {k8s.v1.cni.cncf.io/networks: lam}}\n")
	write(t, ".", "bad.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: b, annotations: {k8s.v1.cni.cncf.io/networks: '['}}\n")
	for command, want := range map[string]string{
		"get --from node.json":                 "\x1b[32mok\x1b[0m",
		"inspect --from node.json default/web": "\x1b[1;31mERROR\x1b[0m",
		"inspect --from node.json default/db":  "\x1b[32mNothing is wrong.\x1b[0m",
		"explain -f pod.yaml":                  "\x1b[1;31mwould fail\x1b[0m",
		"validate bad.yaml":                    "\x1b[1;31merror\x1b[0m",
	} {
		check.Contains(t, command, onTerminal(t, strings.Fields(command)...), want)
	}
}

// onTerminal gives what a command writes to a terminal.
func onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	master, screen := pseudoterminal(t)
	shown := make(chan string)
	go func() {
		text, _ := io.ReadAll(master) // EIO is its end
		shown <- string(text)
	}()
	Run(t.Context(), genericiooptions.IOStreams{In: strings.NewReader(""), Out: screen, ErrOut: io.Discard}, args)
	check.Must(t, screen.Close())
	return <-shown
}
