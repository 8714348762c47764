package main

import (
	"errors"
	"testing"
)

// What is no key of a taint, as --register-with-taints has it, would leave the taint for ever.
func TestTaintThatIsNoKey(t *testing.T) {
	for key, good := range map[string]bool{
		"":                                     true,
		"plexus-cni.io/not-ready":              true,
		"not-ready":                            true,
		"plexus-cni.io/not-ready:NoSchedule":   false,
		"plexus-cni.io/not-ready=x:NoSchedule": false,
		"not-ready=":                           false,
		"plexus-cni.io/not-ready,other":        false,
		"not ready":                            false,
		"a/b/c":                                false,
	} {
		if err := checkTaint(key); (err == nil) != good {
			t.Errorf("%q: got %v", key, err)
		}
	}
}

func TestServeRefusesAWrongTaint(t *testing.T) {
	serve := newServe()
	serve.SetArgs([]string{"--node-name", "n", "--remove-taint", "a=b:NoSchedule", "--state-dir", t.TempDir(), "--socket", t.TempDir() + "/none/s", "--kubeconfig", "/none"})
	serve.SilenceErrors, serve.SilenceUsage = true, true
	var wrong *misuseError
	if err := serve.ExecuteContext(t.Context()); !errors.As(err, &wrong) {
		t.Errorf("got %v", err)
	}
}
