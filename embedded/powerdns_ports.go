package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/miekg/dns"
)

// choosePorts chooses where the server answers DNS and where its API is.
func (p *PowerDNS) choosePorts(ctx context.Context) (err error) {
	if p.port, err = p.folder.keptPort(ctx, portFile, p.options.Port, tryUDPAndTCP); err != nil {
		return err
	}
	p.apiPort, err = p.folder.keptPort(ctx, apiPortFile, p.options.APIPort, tryTCP)
	return err
}

func tryUDPAndTCP(ctx context.Context, port int) error {
	var config net.ListenConfig
	c, err := config.ListenPacket(ctx, "udp", localAddress(port))
	if err != nil {
		return fmt.Errorf("port %d cannot be listened on: %w", port, err)
	}
	return errors.Join(c.Close(), tryTCP(ctx, port))
}

// ready says whether the server answers at its API and over DNS.
func (p *PowerDNS) ready(ctx context.Context, _ int) bool {
	return p.answersAPI(ctx) && p.answersDNS(ctx)
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
	_, _, err := client.ExchangeContext(ctx, question, localAddress(p.port))
	return err == nil // a refusal is an answer
}
