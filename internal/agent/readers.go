package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/plexus-cni/plexus/k8sclient"
)

const (
	metricsPath   = "/metrics"
	acceptedFor   = time.Minute
	refusedFor    = 10 * time.Second
	maxAccepted   = 64
	maxRefused    = 64
	maxReviews    = 4 // at a time
	reviewTimeout = 5 * time.Second
	warningPause  = time.Minute
)

// reviewer asks the API server about those who read metrics. It is an interface so that tests
// can count questions and let the API server be away.
type reviewer interface {
	UserOfToken(ctx context.Context, token string) (*k8sclient.User, error)
	MayGet(ctx context.Context, user *k8sclient.User, path string) (bool, error)
}

// tokenHash stands for a token, which is not kept.
type tokenHash [sha256.Size]byte

// verdict is the answer to a request that has a token: a status of HTTP, and the reason if it
// is not 200.
type verdict struct {
	status int
	reason string
}

var (
	noToken    = verdict{http.StatusUnauthorized, "metrics need a bearer token: the header Authorization: Bearer TOKEN"}
	badToken   = verdict{http.StatusUnauthorized, "the API server does not accept this token"}
	notChecked = verdict{http.StatusServiceUnavailable, "the agent cannot check the token now; its log says why"}
)

// readers lets those read metrics whose token the API server accepts, and who may get /metrics.
type readers struct {
	api atomic.Pointer[reviewer] // nil while there are no credentials for it
	// A flood of bad tokens must not drive out the good ones.
	accepted, refused *cache.LRUExpireCache
	free              chan struct{} // one for each review that may begin
	warned            moment
	log               *slog.Logger
}

func newReaders(log *slog.Logger) *readers {
	return &readers{
		accepted: cache.NewLRUExpireCache(maxAccepted), refused: cache.NewLRUExpireCache(maxRefused),
		free: make(chan struct{}, maxReviews), log: log,
	}
}

func (r *readers) ask(api reviewer) { r.api.Store(&api) }

// guard answers those who may not read, and hands on the others.
func (r *readers) guard(metrics http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		v := r.judge(request)
		if v.status == http.StatusOK {
			metrics.ServeHTTP(w, request)
			return
		}
		if v.status == http.StatusUnauthorized {
			w.Header().Set("WWW-Authenticate", "Bearer")
		}
		http.Error(w, v.reason, v.status)
	})
}

func (r *readers) judge(request *http.Request) verdict {
	token := bearerToken(request)
	if token == "" {
		return noToken
	}
	key := tokenHash(sha256.Sum256([]byte(token)))
	if v, known := r.known(key); known {
		return v
	}
	ctx, cancel := context.WithTimeout(request.Context(), reviewTimeout)
	defer cancel()
	v, err := r.reviewOnce(ctx, key, token)
	if err != nil {
		r.warn(err)
		return notChecked
	}
	return v
}

func bearerToken(request *http.Request) string {
	scheme, token, _ := strings.Cut(strings.TrimSpace(request.Header.Get("Authorization")), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// known gives the verdict on a token that was asked for a short while ago.
func (r *readers) known(key tokenHash) (verdict, bool) {
	for _, kept := range []*cache.LRUExpireCache{r.accepted, r.refused} {
		if v, there := kept.Get(key); there {
			return v.(verdict), true
		}
	}
	return verdict{}, false
}

// reviewOnce waits for its turn. Others may have asked about the same token meanwhile.
func (r *readers) reviewOnce(ctx context.Context, key tokenHash, token string) (verdict, error) {
	select {
	case <-ctx.Done():
		return verdict{}, fmt.Errorf("%d reviews of tokens go on: %w", maxReviews, ctx.Err())
	case r.free <- struct{}{}:
		defer func() { <-r.free }()
	}
	if v, known := r.known(key); known {
		return v, nil
	}
	v, err := r.review(ctx, token)
	switch {
	case err != nil:
		return verdict{}, err
	case v.status == http.StatusOK:
		r.accepted.Add(key, v, acceptedFor)
	default:
		r.refused.Add(key, v, refusedFor)
	}
	return v, nil
}

func (r *readers) review(ctx context.Context, token string) (verdict, error) {
	api := r.api.Load()
	if api == nil {
		return verdict{}, errNoCredentials
	}
	user, err := (*api).UserOfToken(ctx, token)
	if errors.Is(err, k8sclient.ErrTokenRefused) {
		return badToken, nil
	}
	if err != nil {
		return verdict{}, err
	}
	allowed, err := (*api).MayGet(ctx, user, metricsPath)
	if err != nil {
		return verdict{}, err
	}
	if !allowed {
		return verdict{http.StatusForbidden, fmt.Sprintf("%s may not get the nonResourceURL %s", user.Name, metricsPath)}, nil
	}
	return verdict{status: http.StatusOK}, nil
}

// warn says why tokens cannot be checked, but not for every request of a stranger. Who hangs
// up is no reason to warn.
func (r *readers) warn(err error) {
	now := time.Now()
	if errors.Is(err, context.Canceled) || now.Sub(r.warned.load()) < warningPause {
		return
	}
	r.warned.set(now)
	r.log.Warn("the token of a request for metrics cannot be checked", "error", err)
}
