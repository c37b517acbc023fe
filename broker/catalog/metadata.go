package catalog

import "strings"

// checkServiceMetadata checks the conventional keys of a service's metadata (OSB
// profile, "Service Metadata").
func (r servicesReader) checkServiceMetadata(n *node) {
	for _, key := range []string{"displayName", "longDescription", "providerDisplayName"} {
		r.text(n.member(key))
	}
	for _, key := range []string{"documentationUrl", "supportUrl"} {
		if text := r.text(n.member(key)); text != "" && !isWebURL(text) && !strings.HasPrefix(text, "mailto:") {
			r.wrong(n.member(key), "must be an absolute http or https URL")
		}
	}
	if text := r.text(n.member("imageUrl")); text != "" && !isWebURL(text) && !strings.HasPrefix(text, "data:image/") {
		r.wrong(n.member("imageUrl"), "must be an absolute http or https URL or an image as a data: URL")
	}
	if shareable := n.member("shareable"); shareable != nil {
		r.flag(shareable, new(bool))
	}
}

// checkPlanMetadata checks the conventional keys of a plan's metadata (OSB
// profile, "Plan Metadata").
func (r servicesReader) checkPlanMetadata(n *node) {
	r.text(n.member("displayName"))
	r.texts(n.member("bullets"))
	for _, item := range r.list(n.member("costs")) {
		var cost struct {
			Amount *node  `yaml:"amount,required"`
			Unit   string `yaml:"unit,required"`
		}
		if r.read(item, &cost) {
			r.checkAmount(cost.Amount)
		}
	}
}

func (r servicesReader) checkAmount(n *node) {
	if n == nil {
		return
	}
	if n.kind != isMapping || len(n.keys) == 0 {
		r.wrong(n, "must be a mapping from currencies to numbers, such as {usd: 9.5}")
		return
	}
	for _, item := range n.items {
		if item.kind != isNumber && !(item.lone && isJSONNumber(item.text)) {
			r.wrong(item, "must be a number, not %s", item.kind)
		}
	}
}
