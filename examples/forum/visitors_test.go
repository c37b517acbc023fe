package forum_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// visitor is a browser: it knows the forum by name, and asks the zone's server for
// the address.
type visitor struct {
	client *http.Client
	url    string
}

// newVisitor makes a visitor of http://name:port who asks the server for names.
func newVisitor(name, port, server string) *visitor {
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		ip, err := lookUp(ctx, server, host)
		if err != nil {
			return nil, err
		}
		return dialer.DialContext(ctx, network, net.JoinHostPort(ip, port))
	}}
	return &visitor{
		url: "http://" + net.JoinHostPort(name, port),
		client: &http.Client{
			Transport: transport, Timeout: time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// lookUp asks a name server for the address of a name.
func lookUp(ctx context.Context, server, name string) (string, error) {
	answer, _, err := new(dns.Client).ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA), server)
	if err != nil {
		return "", fmt.Errorf("ask for %s: %w", name, err)
	}
	for _, record := range answer.Answer {
		if a, ok := record.(*dns.A); ok {
			return a.A.String(), nil
		}
	}
	return "", fmt.Errorf("ask for %s: the answer %s has no address", name, dns.RcodeToString[answer.Rcode])
}

func (v *visitor) get(ctx context.Context, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+path, nil)
	if err != nil {
		return "", err
	}
	code, _, body, err := v.do(request)
	if err != nil {
		return "", err
	}
	if code != http.StatusOK {
		return "", fmt.Errorf("%s: %d: %s", path, code, body)
	}
	return body, nil
}

func (v *visitor) do(request *http.Request) (code int, header http.Header, body string, err error) {
	answer, err := v.client.Do(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, string(text), err
}

// join registers and returns the path of the member's page.
func (v *visitor) join(ctx context.Context, name string, photograph []byte) (path string, err error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, _ := form.CreateFormFile("photograph", "me.jpg") // a buffer takes everything
	_, _ = part.Write(photograph)
	_ = form.WriteField("name", name)
	_ = form.Close()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, v.url+"/members", &body)
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", form.FormDataContentType())
	code, header, text, err := v.do(request)
	if err != nil {
		return "", err
	}
	if code != http.StatusSeeOther {
		return "", fmt.Errorf("join: %d: %s", code, text)
	}
	return header.Get("Location"), nil
}

// standing is what the forum's status tells of one of its services.
type standing struct {
	Identity string `json:"identity"`
	Retiring int    `json:"retiring"`
	Fault    string `json:"fault"`
}

// status returns what the forum tells of its services, also while one is missing.
func (v *visitor) status(ctx context.Context) (map[string]standing, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+"/status", nil)
	if err != nil {
		return nil, err
	}
	_, _, body, err := v.do(request)
	if err != nil {
		return nil, err
	}
	var all map[string]standing
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		return nil, fmt.Errorf("the status %q: %w", body, err)
	}
	return all, nil
}

// photo is a photograph with a red middle between blue borders.
func photo(width, height int) []byte {
	in := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			c := color.RGBA{B: 255, A: 255}
			if off := 2*x - width; -height < off && off < height {
				c = color.RGBA{R: 255, A: 255}
			}
			in.SetRGBA(x, y, c)
		}
	}
	var out bytes.Buffer
	_ = jpeg.Encode(&out, in, nil) // a buffer takes everything
	return out.Bytes()
}

// crowd is visitors who look around, and one in between who joins.
type crowd struct {
	v       *visitor
	stop    chan struct{}
	running sync.WaitGroup
	served  atomic.Int64

	mu      sync.Mutex
	members []string // paths of their pages
	faults  []error
}

// lookers is how many look around at a time, and joinEvery how often somebody
// joins: a plan allows a number of activations a minute.
const (
	lookers   = 4
	joinEvery = 1200 * time.Millisecond
)

func gather(ctx context.Context, v *visitor, photograph []byte) *crowd {
	c := &crowd{v: v, stop: make(chan struct{})}
	for range lookers {
		c.running.Go(func() { c.every(10*time.Millisecond, func() error { return c.look(ctx) }) })
	}
	c.running.Go(func() {
		c.every(joinEvery, func() error {
			path, err := v.join(ctx, fmt.Sprintf("Visitor %d", c.served.Load()), photograph)
			if err == nil {
				c.mu.Lock()
				c.members = append(c.members, path)
				c.mu.Unlock()
			}
			return err
		})
	})
	return c
}

func (c *crowd) every(pause time.Duration, do func() error) {
	for {
		select {
		case <-c.stop:
			return
		case <-time.After(pause):
		}
		if err := do(); err != nil {
			c.mu.Lock()
			c.faults = append(c.faults, err)
			c.mu.Unlock()
			continue
		}
		c.served.Add(1)
	}
}

// look goes to the first page, to the member who came last, and to the first
// picture there is.
func (c *crowd) look(ctx context.Context) error {
	home, err := c.v.get(ctx, "/")
	if err != nil {
		return err
	}
	if _, rest, ok := strings.Cut(home, `<img src="`); ok {
		source, _, _ := strings.Cut(rest, `"`)
		if _, err := c.v.get(ctx, source); err != nil {
			return err
		}
	}
	c.mu.Lock()
	var last string
	if n := len(c.members); n > 0 {
		last = c.members[n-1]
	}
	c.mu.Unlock()
	if last == "" {
		return nil
	}
	_, err = c.v.get(ctx, last)
	return err
}

// leave ends it and returns who joined, and what failed.
func (c *crowd) leave() (members []string, err error) {
	close(c.stop)
	c.running.Wait()
	return c.members, errors.Join(c.faults...)
}
