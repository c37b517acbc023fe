package openwhisk

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

const firstVersion = "0.0.1"

var versionRule = regexp.MustCompile(`\A(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){0,2}\z`)

// parseVersion reads a semantic version of one to three numbers and writes all
// three.
func parseVersion(s string) (string, error) {
	if !versionRule.MatchString(s) || strings.Trim(s, "0.") == "" {
		return "", malformed("'%s' is not a semantic version", s)
	}
	for strings.Count(s, ".") < 2 {
		s += ".0"
	}
	return s, nil
}

// nextVersion is the one that the request asks for, or else the next patch.
func nextVersion(asked *string, previous string) (string, error) {
	if asked != nil {
		return parseVersion(*asked)
	}
	if previous == "" {
		return firstVersion, nil
	}
	parts := strings.Split(previous, ".")
	patch, err := strconv.Atoi(parts[len(parts)-1])
	if err != nil {
		return "", fmt.Errorf("version %q in the database: %w", previous, err)
	}
	parts[len(parts)-1] = strconv.Itoa(patch + 1)
	return strings.Join(parts, "."), nil
}
