/*! tagstitch 0.1.0 | Apache-2.0 */
"use strict";(()=>{var t={f:"XAdMtlDGJvIRn+g4oHi1H1ptL3yyrB3+Z/oKMURFAbg=",v:"Lk+KfOCJPk1uTK01ks3AWRNuIJiwInDL2dKxpgAn1eI=",m:"mexo3NF81QKwlphx/0wh6+31kWKz7F7/P2Ea1KV07cM=",o:"s7UgC1t2O7tN7dY3Su9atvJZ3LWPBDlKdEbISbG8vSI=",c:"/QrLe+LXskRSLtFgcDGmO/DYThnq1WbGr811R2t3qDo="};var e=document.currentScript;e&&(e.run=t);})();
