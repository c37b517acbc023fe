package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

const (
	// burst is how many wrong credentials a source may send at once; refill is the time
	// after which it may send one more.
	burst  = 10
	refill = 5 * time.Second
	// mostSources and mostProven bound the memory.
	mostSources = 10_000
	mostProven  = 10_000
)

// limits slows down guessing. It is safe for concurrent use.
type limits struct {
	mu      sync.Mutex
	sources *lru.Cache[netip.Addr, *rate.Limiter]
	good    *lru.Cache[[sha256.Size]byte, struct{}]
	salt    [32]byte // the digests of good credentials are useless elsewhere
}

func newLimits() *limits {
	l := &limits{}
	l.sources, _ = lru.New[netip.Addr, *rate.Limiter](mostSources) // fails for sizes below 1
	l.good, _ = lru.New[[sha256.Size]byte, struct{}](mostProven)
	_, _ = rand.Read(l.salt[:]) // never fails
	return l
}

// fail counts wrong credentials. It returns false if the source sent too many to log
// them all.
func (l *limits) fail(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, ok := l.sources.Get(source)
	if !ok {
		limiter = rate.NewLimiter(rate.Every(refill), burst)
		l.sources.Add(source, limiter)
	}
	return limiter.Allow()
}

// exhausted says whether the source has to wait.
func (l *limits) exhausted(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	limiter, ok := l.sources.Get(source)
	return ok && limiter.Tokens() < 1
}

func (l *limits) salted(credentials [sha256.Size]byte) [sha256.Size]byte {
	return sha256.Sum256(append(slices.Clone(l.salt[:]), credentials[:]...))
}

// prove remembers that credentials were right.
func (l *limits) prove(credentials [sha256.Size]byte) {
	l.good.Add(l.salted(credentials), struct{}{})
}

func (l *limits) proven(credentials [sha256.Size]byte) bool {
	_, ok := l.good.Get(l.salted(credentials))
	return ok
}

// source is the address that a request comes from: the nearest one that is not a
// trusted proxy. An IPv6 network of 64 bits, which one site has, counts as one address.
func (a *Authenticator) source(r *http.Request) netip.Addr {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	at, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(forwarded) - 1; i >= 0 && a.trusted(at); i-- {
		next, err := netip.ParseAddr(strings.TrimSpace(forwarded[i]))
		if err != nil {
			break
		}
		at = next
	}
	at = at.Unmap().WithZone("")
	if at.Is6() {
		if prefix, err := at.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return at
}

func (a *Authenticator) trusted(address netip.Addr) bool {
	return slices.ContainsFunc(a.options.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(address.Unmap()) })
}
