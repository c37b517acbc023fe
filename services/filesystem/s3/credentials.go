package s3

import (
	"net"
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/services"
)

// provider is "provider" in the credentials: who runs the service, which tells
// it from another provider's of the same type (Service Binding Specification,
// "Well-known Secret Entries").
const provider = "chandler"

// told is what applications are told of the gateway.
type told struct {
	endpoint *url.URL
	region   string
	ca       string
}

func (t told) tls() bool { return t.endpoint.Scheme == "https" }

func (t told) port() string {
	switch {
	case t.endpoint.Port() != "":
		return t.endpoint.Port()
	case t.tls():
		return "443"
	default:
		return "80"
	}
}

// credentials are what a binding's application reads. The bucket is addressed
// by path: as a part of the host's name it would need DNS of its own.
func (t told) credentials(bucket, accessKey string, secretKey services.Secret) services.Credentials {
	host, port := t.endpoint.Hostname(), t.port()
	number, _ := strconv.ParseFloat(port, 64) // url.Parse has seen to its digits
	values := map[string]any{
		"type":              credentialType,
		"provider":          provider,
		"endpoint":          t.endpoint.String(),
		"host":              host,
		"port":              number,
		"tls":               t.tls(),
		"region":            t.region,
		"bucket":            bucket,
		"access_key_id":     accessKey,
		"secret_access_key": secretKey.Reveal(),
		"path_style":        true,
		"uri":               t.uri(net.JoinHostPort(host, port), bucket, accessKey, secretKey),
	}
	if t.ca != "" {
		values["ca"] = t.ca
	}
	return services.Credentials{
		Values:    values,
		Endpoints: []services.Endpoint{{Host: host, Ports: []string{port}, Protocol: "tcp"}},
	}
}

// uri holds everything in one line: s3://key:secret@host:port/bucket with region
// and tls behind the question mark.
func (t told) uri(address, bucket, accessKey string, secretKey services.Secret) string {
	u := url.URL{
		Scheme:   "s3",
		User:     url.UserPassword(accessKey, secretKey.Reveal()),
		Host:     address,
		Path:     "/" + bucket,
		RawQuery: url.Values{"region": {t.region}, "tls": {strconv.FormatBool(t.tls())}}.Encode(),
	}
	return u.String()
}
