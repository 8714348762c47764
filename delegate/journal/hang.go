package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/plexus-cni/plexus/internal/host"
)

// HangWait is for how long a network whose DEL fails late, or never ends, is left alone by calls for
// other sandboxes.
const HangWait = 5 * time.Minute

// NoteHang notes that a network hangs, and why that is known.
func (j *Journal) NoteHang(network string, failure error) error {
	text := fmt.Sprintf("network %s: %v\n", network, failure)
	if err := os.WriteFile(j.hangPath(network), []byte(text), 0o600); err != nil {
		return fmt.Errorf("note that network %s hangs: %w", network, err)
	}
	return nil
}

// Hangs reports whether a network hung not long ago.
func (j *Journal) Hangs(network string) bool {
	info, err := os.Stat(j.hangPath(network))
	return err == nil && !Elapsed(info.ModTime(), HangWait)
}

// TryHanging allows one call to try a network that hung long ago, or never, and reports
// whether it is this one: for the others it hangs on.
func (j *Journal) TryHanging(network string) bool {
	if j.Hangs(network) {
		return false
	}
	now := time.Now()
	err := os.Chtimes(j.hangPath(network), now, now)
	return err == nil || errors.Is(err, fs.ErrNotExist)
}

// ForgetHang notes that a network does not hang any more.
func (j *Journal) ForgetHang(network string) { _ = os.Remove(j.hangPath(network)) }

// RemoveOldHangs removes what is noted of networks that nobody has tried for long.
func (j *Journal) RemoveOldHangs(listing Listing) {
	for _, name := range listing.Hangs {
		path := filepath.Join(j.dir, name)
		if info, err := os.Stat(path); err == nil && Elapsed(info.ModTime(), 10*HangWait) {
			_ = host.RemoveFiles(path)
		}
	}
}

// hangPath is no name of a record or a lock, whatever the network's: a container ID has no
// separator.
func (j *Journal) hangPath(network string) string {
	sum := sha256.Sum256([]byte(network))
	return filepath.Join(j.dir, separator+hex.EncodeToString(sum[:8])+hangSuffix)
}

// Elapsed reports whether a wait since a time is over. A time in the future is of a clock
// that was set back: then it is.
func Elapsed(since time.Time, wait time.Duration) bool {
	passed := time.Since(since)
	return passed < 0 || passed >= wait
}
