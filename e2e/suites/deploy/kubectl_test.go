package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// kubectl finds kubectl-plexus on the PATH, and completes its line by the script beside it.
func TestKubeCompletesPlugin(t *testing.T) {
	bin := os.Getenv("PLEXUS_BIN")
	if bin == "" {
		t.Skip("PLEXUS_BIN is not set: it names the folder of kubectl-plexus, which make build fills")
	}
	repository, err := filepath.Abs(filepath.Join(root, ".."))
	if err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(repository, "internal", "inspect", "testdata", "host-end-off-bridge.json")
	path := strings.Join([]string{bin, filepath.Join(repository, "cmd", "kubectl-plexus"), "/usr/bin", "/bin"}, string(filepath.ListSeparator))
	for line, want := range map[string]string{
		"plexus g": "get\tList what is attached",
		"plexus get --from " + saved + " default/w": "default/web\n:4",
	} {
		cmd := exec.Command(tool(t, kube.BinVar, "kubectl"), append([]string{"__complete"}, strings.Fields(line)...)...)
		cmd.Env = []string{"PATH=" + path, "HOME=" + t.TempDir()}
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("kubectl %s<TAB>: %v\n%s", line, err, out)
		}
	}
}
