package check

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Tree gives the mode and the content of every file below folders, by path.
func Tree(t testing.TB, folders ...string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, folder := range folders {
		Must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			info, err := entry.Info()
			if err != nil {
				return err
			}
			data, err := os.ReadFile(path)
			all[path] = info.Mode().String() + " " + string(data)
			return err
		}))
	}
	return all
}
