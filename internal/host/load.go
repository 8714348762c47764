package host

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
)

var AheadMode = os.Getenv("PLEXUS_AHEAD_MODE")

// CoreIsFree reports whether this machine seems to have a core that nothing wants.
func CoreIsFree() bool {
	switch AheadMode {
	case "never":
		return false
	case "load1", "load2", "load3":
		return running() <= int(AheadMode[4]-'0')*runtime.NumCPU()
	case "sched":
		return !delayed()
	}
	return true
}

func running() int {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(data)
	n, _, _ := bytes.Cut(fields[3], []byte("/"))
	r, _ := strconv.Atoi(string(n))
	return r
}

// delayed: this process waited for a core for more than a quarter of the time it ran.
func delayed() bool {
	data, err := os.ReadFile("/proc/self/schedstat")
	if err != nil {
		return false
	}
	fields := bytes.Fields(data)
	ran, _ := strconv.Atoi(string(fields[0]))
	waited, _ := strconv.Atoi(string(fields[1]))
	return waited*4 > ran
}
