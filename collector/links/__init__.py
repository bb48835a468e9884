"""Tagged links: tokens that say whom a link was sent to, how they are minted, judged, taken back and counted."""
