package vf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ADD describes the device; DEL removes the description, and what a killed writer left of it.
func TestDeviceInfo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "info")
	config := parse(t, strings.Replace(all, `{`, `{"runtimeConfig":{"CNIDeviceInfoFile":"`+path+`"},`, 1))
	e := newMachine().engine(t)
	if _, err := e.Add(t.Context(), inA(), config); err != nil {
		t.Fatal(err)
	}
	info, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "device information", `{"type":"pci","version":"1.1.0","pci":{"pci-address":"`+dev+`","pf-pci-address":"0000:01:00.0"}}`, string(info))
	if err := os.WriteFile(filepath.Join(dir, ".new-f5d6a8c57ab94f05"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Del(t.Context(), inA(), config); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "number of files after DEL", 0, len(left))
}
