"use strict";
{% include "page/theme.js" %}
{% include "page/details.js" %}
{% include "page/copying.js" %}
{% include "page/sorting.js" %}
{% include "page/filter.js" %}
{% include "page/scrolling.js" %}
