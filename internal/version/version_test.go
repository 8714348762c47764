package version

import (
	"runtime"
	"testing"
)

func TestString(t *testing.T) {
	defer func(v, c, d string) { Version, Commit, Date = v, c, d }(Version, Commit, Date)
	Version, Commit, Date = "v0.1.0", "abc", "2026-01-02T03:04:05Z"

	want := "plexus v0.1.0 (commit abc, built 2026-01-02T03:04:05Z, " + runtime.Version() + ")"
	if got := String("plexus"); got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
}
