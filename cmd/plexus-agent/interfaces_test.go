package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestInterfaces(t *testing.T) {
	for _, test := range []struct {
		names   []string
		missing string
	}{
		{nil, ""},
		{[]string{"lo"}, ""},
		{[]string{"lo", "no-such-net0"}, "no interface no-such-net0, only"},
		{[]string{"no-such-net0", "no-such-net1"}, "no interface no-such-net0, no-such-net1, only"},
	} {
		var out bytes.Buffer
		cmd := newInterfaces()
		cmd.SetOut(&out)
		cmd.SetArgs(append([]string{}, test.names...)) // nil would be those of the test
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := cmd.Execute()
		switch {
		case test.missing == "" && err != nil:
			t.Errorf("%q: %v", test.names, err)
		case test.missing != "" && (err == nil || !strings.Contains(err.Error(), test.missing) || !strings.Contains(err.Error(), "lo")):
			t.Errorf("%q: got %v, want an error with %q and what is there", test.names, err, test.missing)
		}
		if !strings.Contains(out.String(), "lo [") {
			t.Errorf("%q: it printed %q, without lo", test.names, &out)
		}
	}
}
