//go:build linux

package collect

import (
	"os"
	"strconv"
	"strings"
)

// counters are those that say that the namespace as a whole lost a packet, by nstat's names.
var counters = []string{
	"IpExtInNoRoutes", "IpInAddrErrors", "IpInDiscards", "IpOutNoRoutes", "IpFragFails", "IpReasmFails", "TcpExtIPReversePathFilter",
}

// readCounters reads those of the thread's namespace; /proc/net would be that of the process's first
// thread.
func (r *reader) readCounters() error {
	r.ns.Counters = map[string]uint64{}
	for _, file := range []string{"snmp", "netstat"} {
		data, _ := os.ReadFile("/proc/thread-self/net/" + file) // a file that is not there has none
		all := parseCounters(string(data))
		for _, name := range counters {
			if value, found := all[name]; found {
				r.ns.Counters[name] = value
			}
		}
	}
	return nil
}

// parseCounters reads a table of which each line of names is before one of values.
func parseCounters(table string) map[string]uint64 {
	all := map[string]uint64{}
	var names []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if len(names) == 0 || names[0] != fields[0] {
			names = fields
			continue
		}
		for i := 1; i < min(len(names), len(fields)); i++ {
			if value, err := strconv.ParseUint(fields[i], 10, 64); err == nil {
				all[strings.TrimSuffix(fields[0], ":")+names[i]] = value
			}
		}
		names = nil
	}
	return all
}
