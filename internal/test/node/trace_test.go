package node

import (
	"os"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// A plugin may be started while the journal waits for the disk: strace then writes one call as two
// lines, and the call counts when it has ended.
func TestTraceJoinsCalls(t *testing.T) {
	const trace = `10 fsync(8</j/a.new>) = 0
10 fsync(9</j> <unfinished ...>
11 execve("/bin/bridge", ["/bin/bridge"], 0xc000 /* 9 vars */ <unfinished ...>
10 <... fsync resumed>)                = 0
12 rename("/j/b.new", "/j/b" <unfinished ...>
11 <... execve resumed>)               = 0
12 <... rename resumed>)               = 0
13 fsync(9</k> <unfinished ...>
13 <... fsync resumed>)                = -1 EIO (Input/output error)
`
	r := &Trace{t: t, file: t.TempDir() + "/trace"}
	check.Must(t, os.WriteFile(r.file, []byte(trace), 0o600))
	check.Equal(t, "steps", r.Steps(), []string{"sync /j/a.new", "sync /j", "exec /bin/bridge", "rename /j/b.new /j/b"})
}
