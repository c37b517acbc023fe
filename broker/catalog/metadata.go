package catalog

import "strings"

// checkServiceMetadata checks the conventional keys of a service's metadata (OSB
// profile, "Service Metadata").
func (r offeringsReader) checkServiceMetadata(n *node) {
	o := object{r.checker, n}
	for _, key := range []string{"displayName", "longDescription", "providerDisplayName"} {
		o.text(key)
	}
	for _, key := range []string{"documentationUrl", "supportUrl"} {
		if text := o.text(key); text != "" && !isWebURL(text) && !strings.HasPrefix(text, "mailto:") {
			r.wrong(n.member(key), "must be an absolute http or https URL")
		}
	}
	if text := o.text("imageUrl"); text != "" && !isWebURL(text) && !strings.HasPrefix(text, "data:image/") {
		r.wrong(n.member("imageUrl"), "must be an absolute http or https URL or an image as a data: URL")
	}
	o.flag("shareable", false)
}

// checkPlanMetadata checks the conventional keys of a plan's metadata (OSB
// profile, "Plan Metadata").
func (r offeringsReader) checkPlanMetadata(n *node) {
	o := object{r.checker, n}
	o.text("displayName")
	o.texts("bullets")
	for _, item := range o.list("costs") {
		cost := r.object(item, "amount", "unit")
		cost.need("amount", "unit")
		cost.text("unit")
		r.checkAmount(item.member("amount"))
	}
}

func (r offeringsReader) checkAmount(n *node) {
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
