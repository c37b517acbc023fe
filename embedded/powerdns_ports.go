package embedded

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// choosePort returns a port to listen on, and keeps it for the next start.
func (p *PowerDNS) choosePort(ctx context.Context, file string, wanted int) (int, error) {
	kept, err := p.folder.readFile(file)
	if err != nil {
		return 0, err
	}
	port := wanted
	if port == 0 {
		port = firstNumber(string(kept))
	}
	if port == 0 {
		if port, err = freePort(ctx); port == p.port { // nobody listens there yet
			port, err = freePort(ctx)
		}
	} else {
		err = waitPort(ctx, port) // a server whose parent was just killed may still hold it
	}
	if err == nil {
		err = tryUDP(ctx, port)
	}
	if err != nil {
		return 0, fmt.Errorf("%w (`ss -lntup` shows whose it is); free it, name another one, or remove %s to have one chosen", err, p.folder.path(file))
	}
	return port, p.folder.writeFile(file, strconv.AppendInt(nil, int64(port), 10))
}

func tryUDP(ctx context.Context, port int) error {
	var config net.ListenConfig
	c, err := config.ListenPacket(ctx, "udp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("port %d cannot be listened on: %w", port, err)
	}
	return c.Close()
}

// waitReady waits until the server answers at its API and over DNS.
func (p *PowerDNS) waitReady(ctx context.Context, server *process) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !p.answersAPI(ctx) || !p.answersDNS(ctx) {
		select {
		case <-tick.C:
		case <-server.done:
			return server.failure()
		case <-ctx.Done():
			return fmt.Errorf("the DNS server did not become ready in time, its log is %s: %w", server.logFile, ctx.Err())
		}
	}
	return nil
}

func (p *PowerDNS) answersAPI(ctx context.Context) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.APIURL()+"/api/v1/servers/localhost", nil)
	if err != nil {
		return false
	}
	r.Header.Set("X-API-Key", p.apiKey)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	_ = answer.Body.Close() // nothing of it is needed
	return answer.StatusCode == http.StatusOK
}

func (p *PowerDNS) answersDNS(ctx context.Context) bool {
	client := dns.Client{Timeout: time.Second}
	question := new(dns.Msg).SetQuestion("ready.invalid.", dns.TypeSOA)
	_, _, err := client.ExchangeContext(ctx, question, net.JoinHostPort(loopback, strconv.Itoa(p.port)))
	return err == nil // a refusal is an answer
}
