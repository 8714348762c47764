package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestChildTime(t *testing.T) {
	for name, test := range map[string]struct {
		stat string
		want time.Duration
		ok   bool
	}{
		"a daemon":           {"7 (multus-daemon) S 1 7 7 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 9", 270 * time.Millisecond, true},
		"a name with spaces": {"7 (a) S 1 (b) S 1 7 7 0 -1 4194560 1 2 3 4 11 12 100 0 20 0", time.Second, true},
		"no children":        {"7 (agent) S 1 7 7 0 -1 4194560 1 2 3 4 11 12 0 0 20 0", 0, true},
		"cut off":            {"7 (agent) S 1 7 7 0 -1 4194560 1 2 3 4 11 12 0", 0, false},
		"no number":          {"7 (agent) S 1 7 7 0 -1 4194560 1 2 3 4 11 12 x 0 20", 0, false},
		"nothing":            {"", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := childTime(test.stat)
			if got != test.want || (err == nil) != test.ok {
				t.Errorf("%v, error %v, want %v", got, err, test.want)
			}
		})
	}
}

// A process has spent something, and one that has ended nothing that can be read.
func TestOfProcess(t *testing.T) {
	got, err := ofProcess(os.Getpid())
	if err != nil || got <= 0 {
		t.Errorf("processor time of this process: %v, error %v", got, err)
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if _, err := ofProcess(cmd.Process.Pid); err == nil {
		t.Error("no error for a process that has ended")
	}
}

// The processor time of a child counts once it has been waited for.
func TestMeterCountsChildren(t *testing.T) {
	m, err := newMeter(0)
	if err != nil {
		t.Fatal(err)
	}
	m.answered()
	own := m.own
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	got, err := m.read()
	if err != nil || got.calls <= own || got.server != 0 {
		t.Errorf("spent %+v, error %v, want more than %v by children", got, err, own)
	}
}
