//go:build linux

package collect

import (
	"debug/buildinfo"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/version"
)

// readExecutables reads the folder of plugins, and those of CNI_PATH, where plexus looks too. Nothing is run.
func (c *collector) readExecutables() {
	cni := c.snapshot.CNI
	cni.CNIPath = c.options.CNIPath
	self, _ := os.Stat(filepath.Join(c.onHost(cni.BinDir), "plexus"))
	for i, dir := range append([]string{cni.BinDir}, c.options.CNIPath...) {
		entries, err := os.ReadDir(c.onHost(dir))
		isMissed := i == 0 && cni.Plexus != nil && len(c.options.CNIPath) == 0
		if err != nil && (isMissed || !errors.Is(err, fs.ErrNotExist)) {
			c.note(dir, err)
		}
		for _, entry := range entries {
			isKnown := slices.ContainsFunc(cni.Executables, func(e inspect.Executable) bool { return e.Name == entry.Name() })
			executable, is := describeExecutable(filepath.Join(c.onHost(dir), entry.Name()))
			if !is || isKnown {
				continue
			}
			executable.Self = self != nil && isSame(self, filepath.Join(c.onHost(dir), entry.Name()))
			if i > 0 {
				executable.Dir = dir
			}
			cni.Executables = append(cni.Executables, executable)
		}
	}
}

// isSame reports whether a path leads to a file.
func isSame(file fs.FileInfo, path string) bool {
	info, err := os.Stat(path)
	return err == nil && os.SameFile(file, info)
}

func describeExecutable(path string) (described inspect.Executable, is bool) {
	described.Name = filepath.Base(path)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		described.Fault = inspect.FaultDangling
		return described, true
	}
	if err != nil || !info.Mode().IsRegular() {
		return described, false
	}
	described.Mode, described.Modified = info.Mode().String(), info.ModTime().UTC().Truncate(time.Second)
	if info.Mode().Perm()&0o111 == 0 {
		described.Fault = inspect.FaultNotExecutable
	}
	if info.Size() == 0 {
		described.Fault = inspect.FaultEmpty
	}
	described.Version, described.CNI = versionOf(path)
	return described, true
}

// versionOf reads the version that is built into an executable, and that of the CNI library in it.
func versionOf(path string) (own, library string) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return "", ""
	}
	for _, module := range info.Deps {
		if module.Path == "github.com/containernetworking/cni" && module.Replace == nil {
			library = module.Version
		}
	}
	return ownVersion(path, info), library
}

// ownVersion gives the version of an executable: our own mark, or that of its Go module.
func ownVersion(path string, info *buildinfo.BuildInfo) string {
	if strings.HasPrefix(info.Path, "github.com/plexus-cni/plexus/") {
		return stampOf(path)
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	for _, module := range info.Deps {
		if strings.HasPrefix(info.Path, module.Path+"/") {
			return module.Version
		}
	}
	return ""
}

var stamp = sync.OnceValue(func() *regexp.Regexp { // every command would wait a millisecond for it
	return regexp.MustCompile(regexp.QuoteMeta(version.StampMark) + `([0-9A-Za-z.+-]{1,100});`)
})

// maxExecutable is more than any of our executables has, in bytes.
const maxExecutable = 256 << 20

func stampOf(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxExecutable))
	if err != nil {
		return ""
	}
	if found := stamp().FindSubmatch(data); found != nil {
		return string(found[1])
	}
	return ""
}
