package wire

// An edition is what a version of L2TP has for its control messages: attributes and
// what the messages are made of.
type edition struct {
	attributes []attribute // of the IETF, by type
	listings   []listing   // by message type
	// older are attributes of the version before, which are recognized and passed over
	// (RFC 3931 §4.7.3).
	older []attribute
	// alias are a vendor's attributes that mean what ones of the IETF's do.
	vendor uint16
	alias  map[AVPType]AVPType
	// lenient: reserved bits of an AVP are ignored (RFC 3931 §5.1). RFC 2661 §4.1 has
	// "An AVP received with a reserved bit set to 1 MUST be treated as an unrecognized
	// AVP."
	lenient bool
}

var (
	editionV2 = &edition{attributes: attributes[:], listings: listings[:]}
	editionV3 = &edition{attributes: attributesV3[:], listings: listingsV3[:], older: attributes[:],
		vendor: vendorCisco, alias: attributesCisco, lenient: true}
)

// known reports whether it is a message of the edition.
func (ed *edition) known(t MessageType) bool {
	return int(t) < len(ed.listings) && ed.listings[t].name != ""
}

// row is the AVP's row in the table of its vendor, nil if there is none: the AVP is not
// recognized. What is recognized and means nothing has a row without a field.
func (ed *edition) row(a AVP) *attribute {
	switch {
	case a.Reserved != 0 && !ed.lenient:
		return nil
	case a.Vendor == 0:
		if row := rowOf(ed.attributes, a.Type); row != nil {
			return row
		}
		if rowOf(ed.older, a.Type) != nil {
			return &passedOver
		}
	case a.Vendor == vendorBroadbandForum:
		return rowOf(lineAttributes[:], a.Type)
	}
	return nil
}

// passedOver is the row of attributes that are recognized and have no field.
var passedOver = attribute{name: "an attribute of L2TPv2", bits: repeats | mayH}

// meant is the AVP as one of the IETF, if it is a vendor's name for one.
func (ed *edition) meant(a AVP) AVP {
	if t, ok := ed.alias[a.Type]; ok && a.Vendor == ed.vendor {
		a.Vendor, a.Type = 0, t
	}
	return a
}
