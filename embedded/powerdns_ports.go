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

func tryUDPAndTCP(ctx context.Context, port int) error {
	var config net.ListenConfig
	c, err := config.ListenPacket(ctx, "udp", localAddress(port))
	if err != nil {
		return fmt.Errorf("port %d cannot be listened on: %w", port, err)
	}
	return errors.Join(c.Close(), tryTCP(ctx, port))
}

// ready says whether the server responds to API requests and DNS queries.
func (p *PowerDNS) ready(ctx context.Context, _ int) bool {
	return p.answersAPI(ctx) && p.answersDNS(ctx)
}

func (p *PowerDNS) answersAPI(ctx context.Context) bool {
	return answersOK(ctx, p.APIURL()+"/api/v1/servers/localhost", http.Header{"X-Api-Key": {p.apiKey}})
}

func (p *PowerDNS) answersDNS(ctx context.Context) bool {
	client := dns.Client{Timeout: time.Second}
	question := new(dns.Msg).SetQuestion("ready.invalid.", dns.TypeSOA)
	_, _, err := client.ExchangeContext(ctx, question, localAddress(p.port))
	return err == nil // a refusal is an answer
}
