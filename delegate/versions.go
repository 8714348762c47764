package delegate

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/containernetworking/cni/libcni"
)

// versionTimeout bounds VERSION, which a plugin answers without doing anything.
const versionTimeout = 5 * time.Second

// speaker gives what asks plugins which versions of CNI they speak. It asks each once.
func (e *Engine) speaker() func(context.Context, string) ([]string, error) {
	var mu sync.Mutex
	asked := map[string]func() ([]string, error){}
	return func(ctx context.Context, plugin string) ([]string, error) {
		mu.Lock()
		ask := asked[plugin]
		if ask == nil {
			ask = sync.OnceValues(func() ([]string, error) { return e.versionsOf(ctx, plugin) })
			asked[plugin] = ask
		}
		mu.Unlock()
		return ask()
	}
}

// versionsOf runs a plugin's VERSION. One that is older than the verb speaks 0.1.0.
func (e *Engine) versionsOf(ctx context.Context, plugin string) ([]string, error) {
	ctx, cancel := fairShare(ctx, 2)
	defer cancel()
	x := &executor{containerID: "version", timeout: versionTimeout, grace: statusGrace}
	info, err := libcni.NewCNIConfigWithCacheDir(e.Path, e.Config.CNIDir, x).GetVersionInfo(ctx, plugin)
	if err == nil {
		return info.SupportedVersions(), nil
	}
	var failure *PluginError
	if errors.As(err, &failure) && failure.Msg == "unknown CNI_COMMAND: VERSION" {
		return []string{"0.1.0"}, nil
	}
	return nil, err
}
