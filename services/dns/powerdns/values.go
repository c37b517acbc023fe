package powerdns

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// parsers turn a user's value into the server's form, one for each of recordTypes. Every
// value passes one of them on its way to the server.
var parsers = map[string]func(string) (string, error){
	"A":     parseA,
	"AAAA":  parseAAAA,
	"CAA":   parseCAA,
	"CNAME": parseTarget,
	"MX":    parseMX,
	"NS":    parseTarget,
	"SRV":   parseSRV,
	"TXT":   parseTXT,
}

func parseA(s string) (string, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is4() {
		return "", errors.New("must be an IPv4 address")
	}
	return a.String(), nil
}

func parseAAAA(s string) (string, error) {
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", errors.New("must be an IPv6 address")
	}
	return a.String(), nil
}

func parseTarget(s string) (string, error) {
	host, ok := hostName(s)
	if !ok || host == "." {
		return "", errors.New("must be the complete name of a host")
	}
	return host, nil
}

func parseMX(s string) (string, error) {
	return numbersAndHost(s, 1, `must be a preference and the complete name of a host, such as "10 mail.example.com"`)
}

func parseSRV(s string) (string, error) {
	return numbersAndHost(s, 3, `must be priority, weight, port and the complete name of a host, such as "10 5 5060 sip.example.com"`)
}

// numbersAndHost reads n numbers of 16 bits and a name, which may be the root:
// "no such service" (RFC 7505, RFC 2782).
func numbersAndHost(s string, n int, rule string) (record string, err error) {
	fault, fields := errors.New(rule), strings.Fields(s)
	if len(fields) != n+1 {
		return "", fault
	}
	for _, f := range fields[:n] {
		v, err := strconv.ParseUint(f, 10, 16)
		if err != nil {
			return "", fault
		}
		record += strconv.FormatUint(v, 10) + " "
	}
	host, ok := hostName(fields[n])
	if !ok {
		return "", fault
	}
	return record + host, nil
}

var (
	tagRule = regexp.MustCompile(`^[a-z0-9]{1,15}$`)
	caaRule = regexp.MustCompile(`^[!#-\[\]-~ ]{0,500}$`) // printable ASCII without " and \
)

// parseCAA reads flags, a tag and a value, with or without quotes (RFC 8659,
// section 4.1.1).
func parseCAA(s string) (string, error) {
	fail := errors.New(`must be flags, a tag and a value, such as "0 issue letsencrypt.org"`)
	flags, rest, _ := strings.Cut(strings.TrimSpace(s), " ")
	tag, value, ok := strings.Cut(strings.TrimSpace(rest), " ")
	v, err := strconv.ParseUint(flags, 10, 8)
	value = strings.TrimSpace(value)
	if unquoted, quoted := strings.CutPrefix(value, `"`); quoted {
		if value, quoted = strings.CutSuffix(unquoted, `"`); !quoted {
			return "", fail
		}
	}
	if err != nil || !ok || !tagRule.MatchString(tag) || !caaRule.MatchString(value) {
		return "", fail
	}
	return fmt.Sprintf(`%d %s "%s"`, v, tag, value), nil
}

const maxTXT = 4000 // bytes

// parseTXT splits a text into the strings of 255 bytes that a record holds
// (RFC 1035, section 3.3.14) and quotes them.
func parseTXT(s string) (string, error) {
	if len(s) > maxTXT {
		return "", fmt.Errorf("must have %d bytes at most", maxTXT)
	}
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		return "", errors.New("must be the text itself, without quotes around it")
	}
	var out strings.Builder
	for first := true; first || s != ""; first = false {
		n := min(len(s), 255)
		if !first {
			out.WriteByte(' ')
		}
		out.WriteString(quoted(s[:n]))
		s = s[n:]
	}
	return out.String(), nil
}

// quoted writes bytes as a character string of a zone file (RFC 1035, section
// 5.1).
func quoted(s string) string {
	out := []byte{'"'}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ' || c > '~':
			out = fmt.Appendf(out, `\%03d`, c)
		default:
			out = append(out, c)
		}
	}
	return string(append(out, '"'))
}
