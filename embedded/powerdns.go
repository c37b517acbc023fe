package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/miekg/dns"
)

// PowerDNS is a running PowerDNS authoritative server with its HTTP API. It allows DNS UPDATE
// and zone transfers only for zones that allow them. It is safe for concurrent use.
type PowerDNS struct {
	child
	options  Options
	binaries powerDNSBinaries
	storage  powerDNSStorage
	apiPort  int
	apiKey   string
	// secondary says whether the server copies zones from a primary on loopback.
	secondary bool
}

// StartPowerDNS runs a PowerDNS server until Stop, or until this process ends. Errors say
// what to install, or which port to free.
func StartPowerDNS(ctx context.Context, o Options) (*PowerDNS, error) {
	p := &PowerDNS{options: o}
	p.title, p.tryPort = "PowerDNS server", tryUDPAndTCP
	return startServer(ctx, o.Dir, p)
}

// StartSecondaryPowerDNS is StartPowerDNS for a server that also copies zones from a primary on
// loopback, which its API names for each zone.
func StartSecondaryPowerDNS(ctx context.Context, o Options) (*PowerDNS, error) {
	p := &PowerDNS{options: o, secondary: true}
	p.title, p.tryPort = "PowerDNS server", tryUDPAndTCP
	return startServer(ctx, o.Dir, p)
}

// APIURL is the URL of the server's HTTP API, without a path.
func (p *PowerDNS) APIURL() string { return "http://" + localAddress(p.apiPort) }

// APIKey gives access to the HTTP API. It is a secret.
func (p *PowerDNS) APIKey() string { return p.apiKey }

func (p *PowerDNS) program() program {
	return program{path: p.binaries.server, args: []string{"--config-dir=" + inherited}, log: "powerdns.log"}
}

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

// Access implements Running. Only the API's address is passed to connect, because DNS uses UDP,
// too.
func (p *PowerDNS) Access(connect func(string) string) (variables, secrets map[string]string) {
	return map[string]string{
		"POWERDNS_API_URL": "http://" + connect(localAddress(p.apiPort)), "POWERDNS_API_KEY": p.apiKey,
		"POWERDNS_HOST": p.Host(), "POWERDNS_PORT": strconv.Itoa(p.port),
	}, map[string]string{"PowerDNS's API key": p.apiKey}
}

// Holds implements Running. It lists zones and keys.
func (p *PowerDNS) Holds(ctx context.Context) ([]string, error) {
	header := http.Header{"X-Api-Key": {p.apiKey}}
	zones, err := listNames(ctx, p.APIURL()+"/api/v1/servers/localhost/zones", header)
	keys, also := listNames(ctx, p.APIURL()+"/api/v1/servers/localhost/tsigkeys", header)
	return append(zones, keys...), errors.Join(err, also)
}
