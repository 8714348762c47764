package journal

import (
	"errors"
	"os"
	"testing"
	"time"
)

// A network hangs for a while, and then one call may try it.
func TestHangs(t *testing.T) {
	j := New(t.TempDir())
	const network, other = "default/b", "default/c"
	if j.Hangs(network) || !j.TryHanging(network) {
		t.Fatal("a network hangs that nobody has tried")
	}
	if err := j.NoteHang(network, errors.New("did not end")); err != nil {
		t.Fatal(err)
	}
	if !j.Hangs(network) || j.TryHanging(network) || j.Hangs(other) {
		t.Fatal("it does not hang, or another does")
	}
	for _, since := range []time.Time{time.Now().Add(-HangWait), time.Now().Add(time.Hour)} {
		if err := os.Chtimes(j.hangPath(network), since, since); err != nil {
			t.Fatal(err)
		}
		if j.Hangs(network) || !j.TryHanging(network) {
			t.Errorf("since %v: nobody may try it", since)
		}
		if !j.Hangs(network) || j.TryHanging(network) {
			t.Errorf("since %v: everybody may try it", since)
		}
	}
	j.ForgetHang(network)
	if j.Hangs(network) || len(files(t, j)) > 0 {
		t.Errorf("left: %v", files(t, j))
	}
}

// What is noted of a network does not stay for ever.
func TestOldHangsGo(t *testing.T) {
	j := New(t.TempDir())
	for network, since := range map[string]time.Time{"new": time.Now(), "old": time.Now().Add(-11 * HangWait)} {
		if err := j.NoteHang(network, errors.New("did not end")); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(j.hangPath(network), since, since); err != nil {
			t.Fatal(err)
		}
	}
	listing, err := j.Scan()
	if err != nil || len(listing.Hangs) != 2 {
		t.Fatal(listing, err)
	}
	j.RemoveOldHangs(listing)
	if listing, err = j.Scan(); err != nil || len(listing.Hangs) != 1 || !j.Hangs("new") {
		t.Errorf("left: %v, %v", listing, err)
	}
}
