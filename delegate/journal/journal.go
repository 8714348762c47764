// Package journal keeps the records of attachments on disk, so that whatever was
// begun can be undone by a later call: one append-only file of JSON lines for
// each attachment of Plexus itself, and one lock for each container.
//
// The first line of a record, the intent, is on disk before the first delegate runs
// and is never rewritten. The lines after it are appended without waiting for the
// disk: they survive the end of the process, and after a power cut, which ends the
// sandboxes too, every attachment of the intent is released whatever they said.
package journal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

const (
	recordSuffix = ".jsonl"
	newSuffix    = ".new" // an intent that was not yet whole when its writer ended
	lockSuffix   = ".lock"
	hangSuffix   = ".hang" // a network whose DEL fails late, or never ends
	separator    = "@"     // in neither a container ID nor a network name (CNI specification)
)

// ErrBadKey is the error for a container, network or interface that cannot be part
// of a file name.
var ErrBadKey = errors.New("cannot be the name of a record")

// Key identifies a record as the CNI specification identifies an attachment.
type Key struct {
	ContainerID string
	Network     string // of Plexus's own configuration
	IfName      string
}

// String names the record for errors and logs.
func (k Key) String() string {
	return fmt.Sprintf("record of container %s, network %s, interface %s", k.ContainerID, k.Network, k.IfName)
}

func (k Key) file() string {
	return k.ContainerID + separator + k.Network + separator + k.IfName + recordSuffix
}

func (k Key) check() error {
	for _, part := range []string{k.ContainerID, k.Network, k.IfName} {
		if part == "" || strings.ContainsAny(part, "/\x00\n") {
			return fmt.Errorf("%s: %w: %q", k, ErrBadKey, part)
		}
	}
	if strings.Contains(k.ContainerID+k.Network, separator) || len(k.file())+len(newSuffix) > unix.NAME_MAX {
		return fmt.Errorf("%s: %w: too long, or %q in it", k, ErrBadKey, separator)
	}
	return nil
}

func parseKey(file string) (Key, bool) {
	base, isRecord := strings.CutSuffix(file, recordSuffix)
	parts := strings.SplitN(base, separator, 3)
	if !isRecord || len(parts) != 3 {
		return Key{}, false
	}
	return Key{ContainerID: parts[0], Network: parts[1], IfName: parts[2]}, true
}

// Journal is a folder of records. Its methods are safe for concurrent use by any
// number of processes; what writes is a method of Lock.
type Journal struct{ dir string }

// New gives the journal in a folder, which need not exist yet.
func New(dir string) *Journal { return &Journal{dir: dir} }

// List gives the keys of all records, ordered by file name. A folder that does not
// exist has none.
func (j *Journal) List() ([]Key, error) {
	names, err := j.names()
	slices.Sort(names)
	return keysOf(names), err
}

func keysOf(names []string) []Key {
	var keys []Key
	for _, name := range names {
		if key, ok := parseKey(name); ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// Listing is what is in the folder, in no order.
type Listing struct {
	Records   []Key
	Leftovers []Key    // intents that were being written when their writers ended; nothing had been done for them yet
	GivenUp   []Key    // records that were set aside because they could never be released
	Hangs     []string // files of networks that hang
	Locks     []string // containers with a lock and no record: a call is at work, or was killed
}

// Scan reads the folder once, for all that a call or the agent may want of it.
func (j *Journal) Scan() (Listing, error) {
	names, err := j.names()
	listing := Listing{Records: keysOf(names)}
	for _, name := range names {
		switch filepath.Ext(name) {
		case lockSuffix:
			if container := strings.TrimSuffix(name, lockSuffix); !strings.Contains(container, separator) {
				listing.Locks = append(listing.Locks, container)
			}
		case newSuffix:
			listing.Leftovers = append(listing.Leftovers, keysOf([]string{strings.TrimSuffix(name, newSuffix)})...)
		case hangSuffix:
			listing.Hangs = append(listing.Hangs, name)
		default:
			if base, _, aside := strings.Cut(name, host.GivenUp); aside {
				listing.GivenUp = append(listing.GivenUp, keysOf([]string{base})...)
			}
		}
	}
	listing.keepUnrecordedLocks()
	return listing, err
}

func (l *Listing) keepUnrecordedLocks() {
	recorded := map[string]bool{}
	for _, key := range slices.Concat(l.Records, l.Leftovers) {
		recorded[key.ContainerID] = true
	}
	l.Locks = slices.DeleteFunc(l.Locks, func(container string) bool { return recorded[container] })
}

// names gives the names of the folder, in no order.
func (j *Journal) names() ([]string, error) {
	dir, err := os.Open(j.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	return names, nil
}

// OfContainer gives the keys of one container's records.
func (j *Journal) OfContainer(containerID string) ([]Key, error) {
	names, err := j.names()
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, containerID+separator) })
	slices.Sort(names)
	return keysOf(names), err
}

// Read gives a record. The error is fs.ErrNotExist, types.ErrNewerRecord or
// types.ErrDamagedRecord, or of the file system. A record whose content is not of
// its name is damaged.
func (j *Journal) Read(key Key) (*types.Record, error) {
	data, err := os.ReadFile(j.path(key))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	record, err := types.ParseRecord(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if got := KeyOf(record); got != key {
		return nil, fmt.Errorf("%s: %w: it says it is the %s", key, types.ErrDamagedRecord, got)
	}
	return record, nil
}

// Whereabouts is where a record's sandbox is: enough to know whether it lives.
type Whereabouts struct {
	BootID  string
	NetNS   string // the path
	ID      host.NetNSID
	MountNS uint64 // in which the path was seen
}

// Lives reports whether the sandbox can still be there: the boot is the same, and the
// namespace at the path is the recorded one.
func (w Whereabouts) Lives(bootID string) bool {
	return w.BootID == bootID && host.NetNSLives(w.NetNS, w.ID)
}

// MayLive is Lives for a caller that may not see the path: then the sandbox may be there too.
func (w Whereabouts) MayLive(bootID string) bool {
	return w.BootID == bootID && host.NetNSMayLive(w.NetNS, w.ID, w.MountNS)
}

// WhereaboutsOf gives where a record's sandbox is.
func WhereaboutsOf(r *types.Record) Whereabouts {
	id := host.NetNSID{Inode: r.NetNSInode, Changed: r.NetNSChanged, Cookie: r.NetNSCookie}
	return Whereabouts{BootID: r.BootID, NetNS: r.Plan.Sandbox.NetNS, ID: id, MountNS: r.MountNSInode}
}

// Whereabouts reads no more of a record than its first line, and of that only a part:
// every call reads dozens of records of other sandboxes. What is damaged
// further on is not noticed. The errors are those of Read.
func (j *Journal) Whereabouts(key Key) (Whereabouts, error) {
	file, err := os.Open(j.path(key))
	if err != nil {
		return Whereabouts{}, fmt.Errorf("%s: %w", key, err)
	}
	defer file.Close()
	line, err := bufio.NewReader(file).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return Whereabouts{}, fmt.Errorf("%s: %w", key, err)
	}
	head, err := types.ParseIntentHead(line)
	if err != nil {
		return Whereabouts{}, fmt.Errorf("%s: %w", key, err)
	}
	id := host.NetNSID{Inode: head.NetNSInode, Changed: head.NetNSChanged, Cookie: head.NetNSCookie}
	return Whereabouts{BootID: head.BootID, NetNS: head.Plan.Sandbox.NetNS, ID: id, MountNS: head.MountNSInode}, nil
}

// KeyOf gives the key of a record.
func KeyOf(r *types.Record) Key {
	return Key{ContainerID: r.Plan.Sandbox.ContainerID, Network: r.Network, IfName: r.Plan.Sandbox.IfName}
}

// Touched gives the time at which a record was last written to.
func (j *Journal) Touched(key Key) (time.Time, error) {
	info, err := os.Stat(j.path(key))
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// WasGivenUp reports whether a record of this name was set aside because nothing could
// release it.
func (j *Journal) WasGivenUp(key Key) bool {
	_, err := os.Lstat(j.path(key) + host.GivenUp)
	return err == nil
}

// Stamp identifies one state of a record's file.
type Stamp struct {
	Size    int64
	ModTime time.Time
	Inode   uint64
}

// Stamp gives the present state of a record's file, without reading it.
func (j *Journal) Stamp(key Key) (Stamp, error) {
	var stat unix.Stat_t
	if err := unix.Stat(j.path(key), &stat); err != nil {
		return Stamp{}, fmt.Errorf("%s: %w", key, err)
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return Stamp{}, fmt.Errorf("%s: %w: it is no file", key, types.ErrDamagedRecord)
	}
	return Stamp{Size: stat.Size, ModTime: time.Unix(stat.Mtim.Unix()), Inode: stat.Ino}, nil
}

func (j *Journal) path(key Key) string { return filepath.Join(j.dir, key.file()) }

// create puts an intent on disk, with its folder, before it returns.
func (j *Journal) create(key Key, intent types.Intent) error {
	if err := key.check(); err != nil {
		return err
	}
	line, err := types.AppendLine(nil, intent)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	// Under its own name only once it is whole: a torn intent would look like damage.
	path := j.path(key)
	if err := host.ReplaceFile(path, path+newSuffix, 0o600, bytes.NewReader(line)); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	host.KillPoint()
	return nil
}

// appendEntry adds a line. A torn line at the end, of a writer that was killed, is
// ended first: alone on its line it has no effect.
func (j *Journal) appendEntry(key Key, entry types.Entry) error {
	line, err := types.AppendLine(nil, entry)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	file, err := os.OpenFile(j.path(key), os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	defer file.Close()
	if torn(file) {
		line = append([]byte("\n"), line...)
	}
	host.KillPoint()
	if _, err := file.Write(line); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	host.KillPoint()
	return nil
}

func torn(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = file.ReadAt(last, info.Size()-1)
	return err == nil && !bytes.Equal(last, []byte("\n"))
}
