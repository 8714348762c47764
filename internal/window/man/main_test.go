package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Every command has a page, and groff renders it without a warning.
func TestPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man")
	check.Must(t, run([]string{dir}))
	for _, name := range []string{"", "-explain", "-validate", "-get", "-inspect", "-path", "-snapshot", "-version", "-completion"} {
		page, err := os.ReadFile(filepath.Join(dir, "kubectl-plexus"+name+".1"))
		check.Must(t, err)
		check.Contains(t, "page of "+name, string(page), ".SH SYNOPSIS", ".SH DESCRIPTION")
	}
	again := filepath.Join(t.TempDir(), "again")
	check.Must(t, run([]string{again}))
	check.Equal(t, "the same pages", tree(t, again), tree(t, dir))
	check.Error(t, run(nil), "one argument")

	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("there is no groff: the package groff-base has it")
	}
	pages, err := filepath.Glob(dir + "/*.1")
	check.Must(t, err)
	for _, page := range pages {
		out, err := exec.CommandContext(t.Context(), groff, "-man", "-Kutf8", "-Tutf8", "-ww", "-z", page).CombinedOutput()
		check.Must(t, err)
		check.Equal(t, "warnings of "+filepath.Base(page), string(out), "")
	}
}

func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := os.ReadDir(dir)
	check.Must(t, err)
	all := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(dir, file.Name()))
		check.Must(t, err)
		all[file.Name()] = string(data)
	}
	return all
}
