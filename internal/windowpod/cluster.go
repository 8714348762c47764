package windowpod

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/inspect/stream"
)

// Options say how window pods are made.
type Options struct {
	Namespace string        // "" is that of the manifests
	Keep      time.Duration // how long a pod stays when nobody uses it; 0 is DefaultKeep
	Needs     Needs
	Build     string        // the version of this program
	Timeout   time.Duration // of one request to the API server
	// Progress is told what is waited for, when that takes over a second.
	Progress func(format string, args ...any)
}

// Cluster opens nodes of one cluster.
type Cluster struct {
	options Options
	config  *rest.Config
	core    corev1client.CoreV1Interface
	rights  authorizationclient.AuthorizationV1Interface

	prepared sync.Mutex // held while the first one reads what all use
	settings *settings
	pods     []corev1.Pod // window pods of the whole cluster, as they were at the beginning
}

// New makes a Cluster of a client's configuration.
func New(config *rest.Config, options Options) (*Cluster, error) {
	if options.Namespace == "" {
		options.Namespace = Namespace
	}
	if options.Keep == 0 {
		options.Keep = DefaultKeep
	}
	if err := CheckKeep(options.Keep); err != nil {
		return nil, err
	}
	lasting := rest.CopyConfig(config)
	lasting.Timeout = 0 // of a request, which would end a watch and an exec
	lasting.QPS = -1    // who waits before a screen asks little
	shared, err := rest.HTTPClientFor(lasting)
	if err != nil {
		return nil, err
	}
	c := &Cluster{options: options, config: lasting}
	if c.core, err = corev1client.NewForConfigAndClient(lasting, shared); err != nil {
		return nil, err
	}
	c.rights, err = authorizationclient.NewForConfigAndClient(lasting, shared)
	return c, err
}

// limited gives a request its time.
func (c *Cluster) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, c.options.Timeout)
}

// Open opens a node, in a pod that is there or in a new one. Several nodes may be open at once.
func (c *Cluster) Open(ctx context.Context, name string) (*Node, error) {
	node, err := c.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", name, err)
	}
	return node, nil
}

func (c *Cluster) open(ctx context.Context, name string) (node *Node, err error) {
	agent := c.seekAgent(ctx, name)
	slow := time.AfterFunc(time.Second, func() { c.options.Progress("waiting for a window pod on node %s", name) })
	defer slow.Stop()
	finished, err := c.prepare(ctx)
	if err != nil {
		return nil, err
	}
	cleaned := c.remove(ctx, finished)
	defer func() {
		if err != nil {
			err = errors.Join(err, cleaned.wait())
		}
	}()
	wanted := c.settings.pod(name, c.options.Keep, c.options.Needs)
	for i := range c.pods {
		if !serves(&c.pods[i], wanted, time.Now()) || !c.mayEnter(ctx, c.pods[i].Name) {
			continue
		}
		if client, err := c.enter(ctx, c.pods[i].DeepCopy()); err == nil || !errors.Is(err, errNotThere) {
			return &Node{client, name, c.options.Namespace + "/" + c.pods[i].Name, agent, cleaned}, err
		}
	}
	made, err := c.create(ctx, wanted)
	if err != nil {
		return nil, err
	}
	client, err := c.enter(ctx, made)
	return &Node{client, name, c.options.Namespace + "/" + made.Name, agent, cleaned}, err
}

// mayEnter reports whether the user may use a pod that is there, also one of somebody who may do more.
func (c *Cluster) mayEnter(ctx context.Context, pod string) bool {
	if !canCapture(pod) {
		return true
	}
	allowed, err := c.may(ctx, capture)
	return err == nil && allowed
}

// seekAgent asks whether an agent runs on a node. The pod does not see its socket.
func (c *Cluster) seekAgent(ctx context.Context, node string) func() bool {
	answer := sync.OnceValue(func() bool {
		ctx, cancel := c.limited(ctx)
		defer cancel()
		agents, err := c.core.Pods(c.options.Namespace).List(ctx, metav1.ListOptions{LabelSelector: agentLabels, FieldSelector: "spec.nodeName=" + node})
		return err == nil && slices.ContainsFunc(agents.Items, func(p corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning })
	})
	go answer()
	return answer
}

// enter waits until a pod runs, and speaks to it.
func (c *Cluster) enter(ctx context.Context, pod *corev1.Pod) (*stream.Client, error) {
	if err := c.await(ctx, pod); err != nil {
		if errors.Is(err, ErrNoStart) {
			err = errors.Join(err, c.remove(ctx, []string{pod.Name}).wait()) // it would be in the way
		}
		return nil, err
	}
	return c.connect(ctx, pod.Name)
}

// prepare reads the settings and the pods, once. The first caller is given the finished pods.
func (c *Cluster) prepare(ctx context.Context) (finished []string, err error) {
	c.prepared.Lock()
	defer c.prepared.Unlock()
	if c.settings != nil {
		return nil, nil
	}
	ctx, cancel := c.limited(ctx)
	defer cancel()
	var pods *corev1.PodList
	listed := make(chan error, 1)
	go func() {
		var err error
		pods, err = c.core.Pods(c.options.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels})
		listed <- err
	}()
	read, err := c.core.ConfigMaps(c.options.Namespace).Get(ctx, configMap, metav1.GetOptions{})
	if err = c.explainSettings(ctx, err); err == nil {
		err = c.explain(ctx, <-listed, right{"list", "pods", ""})
	}
	if err != nil {
		return nil, err
	}
	s, err := settingsOf(read.Data)
	if err != nil {
		return nil, err
	}
	c.settings, c.pods = &s, pods.Items
	for i := range c.pods {
		if isFinished(&c.pods[i]) && c.pods[i].DeletionTimestamp == nil {
			finished = append(finished, c.pods[i].Name)
		}
	}
	return finished, nil
}

func (c *Cluster) explainSettings(ctx context.Context, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("namespace %s has no ConfigMap %s: Plexus is installed in another one (--plexus-namespace), or its manifests are older than the window pod",
			c.options.Namespace, configMap)
	}
	return c.explain(ctx, err, right{"get", "configmaps", configMap})
}

// cleaning is the deletion of pods, under way.
type cleaning struct {
	sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

// wait waits for the deletion, and gives what failed.
func (w *cleaning) wait() error {
	w.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	err := errors.Join(w.errs...)
	w.errs = nil // said once
	return err
}

// remove deletes pods, all at once.
func (c *Cluster) remove(ctx context.Context, names []string) *cleaning {
	w := &cleaning{}
	for _, name := range names {
		w.Go(func() {
			ctx, cancel := c.limited(ctx)
			defer cancel()
			err := c.core.Pods(c.options.Namespace).Delete(ctx, name, metav1.DeleteOptions{})
			if err == nil || apierrors.IsNotFound(err) {
				return
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			w.errs = append(w.errs, fmt.Errorf("delete the window pod %s: %w", name, c.explain(ctx, err, right{"delete", "pods", ""})))
		})
	}
	return w
}
