package window

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/internal/confdir"
	"github.com/plexus-cni/plexus/internal/inspect"
)

var errNoConfigs = errors.New("the snapshot has no configurations: take it with kubectl plexus snapshot --with-config")

// elsewhereToo is what nobody sees in a folder of plugins.
const elsewhereToo = "the runtime's CNI_PATH names no other folder of plugins, and they may be executed where they are"

// openSaved gives the node of a Snapshot, with its own configuration or that of a file (--config).
func openSaved(s *inspect.Snapshot, file string) (*node, error) {
	n := &node{saved: s, file: file}
	if file != "" {
		return n, n.openConfig()
	}
	if s.CNI == nil || lacksConfigs(s.CNI) {
		n.parse([]byte(assumedConfig))
		n.assume("the configuration of plexus has its defaults, and a default network that is not known: none was given (--config), and %v", errNoConfigs)
		return n, nil
	}
	return n, n.openFiles(confFiles(s.CNI), s.CNI.ConfDir)
}

// join gives the path of a file of the node.
func (n *node) join(dir, name string) string {
	if n.saved != nil {
		return path.Join(dir, name)
	}
	return filepath.Join(dir, name)
}

// lacksConfigs reports whether the configurations were not asked for, or taken out.
func lacksConfigs(cni *inspect.CNI) bool {
	return slices.ContainsFunc(cni.Files, func(f inspect.ConfFile) bool { return f.Fault == "" && f.Config == nil })
}

// confFiles gives the files of a Snapshot that a runtime reads.
func confFiles(cni *inspect.CNI) []confdir.File {
	var files []confdir.File
	for i := range cni.Files {
		saved := &cni.Files[i]
		file := confdir.File{Name: saved.Name, Data: saved.Config}
		if saved.Owner == "plexus" {
			file.Owner = confdir.Plexus
		}
		if saved.Fault != "" {
			file.Fault = errors.New(saved.Fault)
		}
		if !saved.Ignored {
			files = append(files, file)
		}
	}
	return files
}

// savedFiles gives what the Snapshot has of the node's files, and says what it has not.
func (n *node) savedFiles() plan.Node {
	files := &savedFiles{cni: n.saved.CNI, taken: n.saved.Machine.Taken, elsewhere: elsewhere{n.config.BinDir, errNoConfigs}}
	switch {
	case files.cni == nil:
		n.assume("every plugin is there: the snapshot has no list of them; kubectl plexus snapshot makes one that has")
		return &files.elsewhere
	case n.saved.Redacted:
		n.assume("every plugin is there: the snapshot is redacted, so their names are made up")
		return &files.elsewhere
	case n.config.BinDir != files.cni.BinDir || len(files.cni.Executables) == 0:
		n.assume("every plugin is there: the snapshot has none of the folder %s", n.config.BinDir)
		files.unlisted = true
	}
	if !lacksConfigs(files.cni) {
		files.why = fmt.Errorf("a snapshot has the files of the runtime's folder alone, which is %s", files.cni.ConfDir)
	}
	if folder := n.config.AuxiliaryCNIChainName; folder != "" && strings.Contains(n.config.ClusterNetwork, "/") {
		files.chain = folder
		n.assume("the folder of auxiliaryCNIChainName, %s, has no plugins: a snapshot does not have it", folder)
	}
	return files
}

// listed gives what is known of the plugins of a node that was read, nil if they are not known.
func (n *node) listed() *savedFiles {
	files := n.files
	if wrapped, is := files.(unknownDefault); is {
		files = wrapped.Node
	}
	if saved, is := files.(*savedFiles); is && !saved.unlisted {
		return saved
	}
	return nil
}

// savedFiles is what a Snapshot has of a node's files and executables.
type savedFiles struct {
	elsewhere
	cni      *inspect.CNI
	taken    time.Time
	unlisted bool   // the executables are those of another folder
	chain    string // the folder of auxiliaryCNIChainName
}

// CheckPlugin says of a plugin what the node would say.
func (s *savedFiles) CheckPlugin(name string) error {
	if s.unlisted {
		return s.elsewhere.CheckPlugin(name)
	}
	i := slices.IndexFunc(s.cni.Executables, func(e inspect.Executable) bool { return e.Name == name && e.Fault != inspect.FaultDangling })
	if i < 0 {
		return plan.MissingPlugin(name, append([]string{s.cni.BinDir}, s.cni.CNIPath...))
	}
	found := &s.cni.Executables[i]
	dir := s.cni.BinDir
	if found.Dir != "" {
		dir = found.Dir
	}
	return plan.Executable{
		Path: path.Join(dir, name), Self: found.Self || name == "plexus", Runnable: isRunnable(found.Mode),
		Empty: found.Fault == inspect.FaultEmpty && s.taken.Sub(found.Modified) > plan.Copying,
	}.Check(name)
}

// isRunnable reports whether anybody may run a file of the mode, as ls shows it.
func isRunnable(mode string) bool {
	const permissions = 9
	return strings.Contains(mode[max(len(mode)-permissions, 0):], "x")
}

// Stat knows the runtime's folder, and what a runtime reads of it.
func (s *savedFiles) Stat(file string) (fs.FileInfo, error) {
	file = filepath.ToSlash(file)
	if file == s.cni.ConfDir {
		return entry{name: path.Base(file), dir: true}, nil
	}
	if s.find(file) != nil {
		return entry{name: path.Base(file)}, nil
	}
	if path.Dir(file) == s.cni.ConfDir && slices.Contains(confdir.Extensions, path.Ext(file)) {
		return nil, &fs.PathError{Op: "stat", Path: file, Err: syscall.ENOENT}
	}
	return nil, s.unknown(file)
}

// ReadDir gives the files of the runtime's folder. The plugins of a list's own folder are in the list already.
func (s *savedFiles) ReadDir(folder string) ([]fs.DirEntry, error) {
	folder = filepath.ToSlash(folder)
	switch {
	case lacksConfigs(s.cni):
		return nil, s.unknown(folder)
	case s.isMerged(folder):
		return nil, &fs.PathError{Op: "open", Path: folder, Err: syscall.ENOENT}
	case folder != s.cni.ConfDir:
		return nil, s.unknown(folder)
	}
	var entries []fs.DirEntry
	for i := range s.cni.Files {
		if file := &s.cni.Files[i]; !file.Ignored {
			entries = append(entries, fs.FileInfoToDirEntry(entry{name: file.Name}))
		}
	}
	return entries, nil
}

// isMerged reports whether the plugins of a folder are in a list already, or are taken for none.
func (s *savedFiles) isMerged(folder string) bool {
	name := path.Base(folder)
	return path.Dir(folder) == s.cni.ConfDir && (name == s.chain ||
		slices.ContainsFunc(s.cni.Files, func(f inspect.ConfFile) bool { return path.Ext(f.Name) == ".conflist" && networkOf(&f) == name }))
}

// networkOf gives the name of a file's network, also if the file is broken.
func networkOf(file *inspect.ConfFile) string {
	named := struct{ Name string }{file.Network}
	if file.Network == "" {
		_ = json.Unmarshal(file.Config, &named) // one without a name has no folder
	}
	return named.Name
}

// ReadFile gives the configuration of a file, with masked secrets.
func (s *savedFiles) ReadFile(name string) ([]byte, error) {
	name = filepath.ToSlash(name)
	file := s.find(name)
	switch {
	case file == nil:
		return nil, s.unknown(name)
	case file.Config != nil:
		return file.Config, nil
	case file.Fault != "":
		return nil, &unknownFileError{name, errors.New("a snapshot does not have what is no JSON: " + file.Fault)}
	}
	return nil, s.unknown(name)
}

func (s *savedFiles) find(file string) *inspect.ConfFile {
	if path.Dir(file) != s.cni.ConfDir {
		return nil
	}
	i := slices.IndexFunc(s.cni.Files, func(f inspect.ConfFile) bool { return f.Name == path.Base(file) })
	if i < 0 {
		return nil
	}
	return &s.cni.Files[i]
}

// entry describes a file or a folder of the node.
type entry struct {
	name string
	dir  bool
}

func (e entry) Name() string     { return e.name }
func (entry) Size() int64        { return 0 }
func (entry) ModTime() time.Time { return time.Time{} }
func (e entry) IsDir() bool      { return e.dir }
func (entry) Sys() any           { return nil }

// Mode gives the kind of the entry.
func (e entry) Mode() fs.FileMode {
	if e.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}

// speaks gives the newest version of CNI that a plugin knows by the library that is built into it, "" if that
// is not known.
func speaks(library string) string {
	major, minor, _ := strings.Cut(strings.TrimPrefix(library, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	switch {
	case library == "" || strings.Contains(library, "-"): // of no release
		return ""
	case major == "0":
		return "0.4.0"
	case major == "1" && (minor == "0" || minor == "1"):
		return "1.0.0"
	}
	return ""
}

// newest gives for the plugins of a node that do not know every version of CNI the newest that they know.
func (n *node) newest() map[string]string {
	versions := map[string]string{}
	for i := range n.saved.CNI.Executables {
		executable := &n.saved.CNI.Executables[i]
		if version := speaks(executable.CNI); version != "" {
			versions[executable.Name] = version
		}
	}
	return versions
}
