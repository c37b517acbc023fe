package embedded

import "context"

// PowerDNS is a running PowerDNS authoritative server with its HTTP API. It allows DNS UPDATE
// and zone transfers only for zones that allow them. It is safe for concurrent use.
type PowerDNS struct {
	child
	options  Options
	binaries powerDNSBinaries
	storage  powerDNSStorage
	apiPort  int
	apiKey   string
}

// StartPowerDNS runs a PowerDNS server until Stop, or until this process ends. Errors say
// what to install, or which port to free.
func StartPowerDNS(ctx context.Context, o Options) (*PowerDNS, error) {
	p := &PowerDNS{options: o}
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
