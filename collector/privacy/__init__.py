"""Everyone's own rights: finding, taking along, correcting, restricting and erasing what is held about somebody."""
