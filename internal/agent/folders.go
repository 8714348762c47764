package agent

import (
	"path/filepath"
	"time"

	"github.com/plexus-cni/plexus/internal/host"
)

// folderCheck is how often the agent checks that its folders have their names still.
const folderCheck = 5 * time.Second

// folders are those of the node that are mounted for an agent: the journal's, that of its
// socket, that of the kubelet's. Every path is the host's own.
func (o *Options) folders() []host.Mounted {
	folders := []host.Mounted{host.NewMounted(o.StateDir, ""), host.NewMounted(filepath.Dir(o.Socket), "")}
	if o.Devices.Socket != "" {
		folders = append(folders, host.NewMounted(filepath.Dir(o.Devices.Socket), ""))
	}
	return folders
}
