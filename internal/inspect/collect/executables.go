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
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/version"
)

// readExecutables reads the folder of plugins, and those of CNI_PATH, where plexus looks too. Nothing is run.
func (c *collector) readExecutables() {
	cni := c.snapshot.CNI
	cni.CNIPath = c.options.CNIPath
	for i, dir := range append([]string{cni.BinDir}, c.options.CNIPath...) {
		entries, err := os.ReadDir(c.onHost(dir))
		isMissed := i == 0 && cni.Plexus != nil && len(c.options.CNIPath) == 0
		if err != nil && (isMissed || !errors.Is(err, fs.ErrNotExist)) {
			c.note(dir, err)
		}
		for _, entry := range entries {
			isKnown := slices.ContainsFunc(cni.Executables, func(e inspect.Executable) bool { return e.Name == entry.Name() })
			if executable, is := describeExecutable(filepath.Join(c.onHost(dir), entry.Name())); is && !isKnown {
				cni.Executables = append(cni.Executables, executable)
			}
		}
	}
}

func describeExecutable(path string) (described inspect.Executable, is bool) {
	described.Name = filepath.Base(path)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		described.Fault = "it is a link to nothing"
		return described, true
	}
	if err != nil || !info.Mode().IsRegular() {
		return described, false
	}
	described.Mode, described.Modified = info.Mode().String(), info.ModTime().UTC().Truncate(time.Second)
	if info.Mode().Perm()&0o111 == 0 {
		described.Fault = "it is not executable"
	}
	if info.Size() == 0 {
		described.Fault = "it is empty"
	}
	described.Version = versionOf(path)
	return described, true
}

// versionOf reads the version that is built into an executable: our own mark, or that of its Go module.
func versionOf(path string) string {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return ""
	}
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

var stamp = regexp.MustCompile(regexp.QuoteMeta(version.StampMark) + `([0-9A-Za-z.+-]{1,100});`)

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
	if found := stamp.FindSubmatch(data); found != nil {
		return string(found[1])
	}
	return ""
}
