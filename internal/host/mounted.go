package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrMoved is the error for a folder of the host that was moved or removed there, and is
// still the one that is mounted for this process: it has to be started again.
var ErrMoved = errors.New("was moved or removed on the host, and this process still sees the old one: it has to be started again")

// Mounted is a folder as it is mounted for this process. A mount keeps the folder that had
// the name when it was made: what has the name later is not to be seen through it.
type Mounted struct {
	path string // as this process sees it
	root string // in its file system: the kernel keeps it up to date
	name string // the path on the host, if that leads to the same folder here; else empty
}

// NewMounted remembers what is mounted where a folder is. If the folder has its path on the
// host here too, as where the folder above is mounted by its own path, that counts as well.
func NewMounted(path, onHost string) Mounted {
	m := Mounted{path: path, root: mountRoot(path)}
	if path != onHost && SameDir(path, onHost) {
		m.name = onHost
	}
	return m
}

// Check gives ErrMoved if the folder that is mounted is not the one any more that has the
// name on the host.
func (m Mounted) Check() error {
	if root := mountRoot(m.path); root != m.root && root != "" && m.root != "" {
		return fmt.Errorf("%s: the folder that is mounted here (%s, now %s) %w", m.path, m.root, root, ErrMoved)
	}
	if m.name != "" && !SameDir(m.path, m.name) {
		return fmt.Errorf("%s: the folder that is mounted here (%s) %w", m.path, m.name, ErrMoved)
	}
	return nil
}

// AwaitMoved checks folders again and again, and returns the first error, or nil when ctx
// ends.
func AwaitMoved(ctx context.Context, every time.Duration, folders ...Mounted) error {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		for _, folder := range folders {
			if err := folder.Check(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// SameDir reports whether two paths lead to one folder that is there.
func SameDir(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// mountRoot gives the folder that is mounted where a path is, by its path in its own file
// system; empty if that is not known. It ends with "//deleted" after the folder was removed.
func mountRoot(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	table, err := os.ReadFile(filepath.Join(procfs, "self", "mountinfo"))
	if err != nil {
		return ""
	}
	return mountRootIn(string(table), path)
}

// mountRootIn reads the table of proc(5). Of the mounts that the path is in, the innermost
// counts; of two on one another, the later one.
func mountRootIn(table, path string) (root string) {
	inner := ""
	for line := range strings.Lines(table) {
		const rootField, pointField = 3, 4
		fields := strings.Fields(line)
		if len(fields) <= pointField {
			continue
		}
		point := unescaped(fields[pointField])
		if isBelow(path, point) && len(point) >= len(inner) {
			inner, root = point, fields[rootField]
		}
	}
	return root
}

func isBelow(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// unescaped gives a path of the table as it is: the kernel writes blanks in octal.
func unescaped(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}
